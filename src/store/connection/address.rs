//! The address in `--redis-url`: where the server or its sentinels are, the user, and the number of the
//! database. `route` resolves it.

use std::{fmt, path::PathBuf, str::FromStr};

use url::{Host, Url};

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 6379;

/// A host and a port, as a server listens on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for HostPort {
    type Err = String;

    /// Reads `HOST:PORT`, an IPv6 address in brackets or, as sentinels and servers write it, without.
    fn from_str(text: &str) -> Result<HostPort, String> {
        let wrong = || format!("{text:?} is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(|letter: char| letter.is_whitespace()) {
            return Err(wrong());
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// The place that connections go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UrlPlace {
    /// The path of a socket.
    Unix(PathBuf),
    /// One or more hosts: the server itself, or sentinels.
    Tcp(Vec<HostPort>),
}

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub place: UrlPlace,
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: u32,
}

impl Address {
    /// Reads `redis://USER:PASSWORD@HOST:PORT,HOST:PORT/DB`, `rediss://` likewise, or
    /// `unix:///PATH?db=DB&user=USER&pass=PASSWORD`. The hosts may also be URLs of their own between commas.
    ///
    /// # Errors
    ///
    /// The sentence about what is wrong. It never has the user or the password in it.
    pub fn parse(text: &str) -> Result<Address, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme, such as redis://")?;
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            "unix" | "redis+unix" | "valkey+unix" => return Address::of_socket(text),
            _ => return Err("its scheme is none of redis://, rediss:// and unix://".to_owned()),
        };
        let separator = format!(",{scheme}://");
        let mut urls = rest.split(&separator);
        let mut address = Address::of_hosts(urls.next().unwrap_or_default(), tls)?;
        for url in urls {
            let Address { place: UrlPlace::Tcp(hosts), user, password, database, .. } =
                Address::of_hosts(url, tls)?
            else {
                continue;
            };
            let same = user.is_none() && password.is_none() && database == 0
                || (&user, &password, database)
                    == (&address.user, &address.password, address.database);
            if !same {
                return Err("its addresses differ in user, password or database".to_owned());
            }
            if let UrlPlace::Tcp(all) = &mut address.place {
                all.extend(hosts);
            }
        }
        Ok(address)
    }

    /// Reads what stands behind the scheme.
    fn of_hosts(text: &str, tls: bool) -> Result<Address, String> {
        if text.contains(['?', '#']) {
            return Err("it has a ? or a #: write these of a password as %3F and %23".to_owned());
        }
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login, hosts),
            None => ("", authority),
        };
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let user = decoded("user", user)?;
        let hosts: Result<Vec<_>, _> = hosts.split(',').map(endpoint).collect();
        Ok(Address {
            place: UrlPlace::Tcp(hosts?),
            tls,
            user: Some(user).filter(|user| !user.is_empty()),
            password: password
                .map(|password| decoded("password", password))
                .transpose()?
                .map(|password| Secret(password.into_bytes())),
            database: database(path.trim_end_matches('/'))?,
        })
    }

    /// Reads a URL of a socket. Its query has what stands before and behind the hosts otherwise.
    fn of_socket(text: &str) -> Result<Address, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let path = url.to_file_path().map_err(|()| "it has no absolute path".to_owned())?;
        let place = UrlPlace::Unix(path);
        let mut address = Address { place, tls: false, user: None, password: None, database: 0 };
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => address.database = database(&value)?,
                "user" => address.user = Some(value.into_owned()),
                "pass" => address.password = Some(Secret(value.into_owned().into_bytes())),
                _ => return Err("its query has something else than db, user and pass".to_owned()),
            }
        }
        Ok(address)
    }
}

/// Reads one host with its port, if it has one.
fn endpoint(text: &str) -> Result<HostPort, String> {
    let wrong = || format!("{text:?} in it is not HOST:PORT");
    let url = Url::parse(&format!("redis://{text}")).map_err(|_| wrong())?;
    let host = match url.host().ok_or_else(wrong)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    Ok(HostPort { host, port: url.port().unwrap_or(DEFAULT_PORT) })
}

fn database(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| "what follows its host is not the number of a database".to_owned())
}

/// Decodes `%40` and the like.
fn decoded(what: &str, text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let value = value
            .ok_or_else(|| format!("its {what} has a % without two digits: write it as %25"))?;
        bytes.push(value);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("its {what} is not UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        let UrlPlace::Tcp(hosts) = Address::parse(text).unwrap().place else { panic!("a socket") };
        hosts.iter().map(HostPort::to_string).collect()
    }

    #[test]
    fn an_address_has_one_host_or_several() {
        assert_eq!(hosts("redis://a"), ["a:6379"]);
        assert_eq!(hosts("rediss://a:1,b,[::1]:3/2"), ["a:1", "b:6379", "[::1]:3"]);
        assert_eq!(hosts("redis://10.0.0.1:1,redis://10.0.0.2:2"), ["10.0.0.1:1", "10.0.0.2:2"]);
        assert_eq!(hosts("redis://u:p@a:1/3,redis://u:p@b:2/3"), ["a:1", "b:2"]);
    }

    #[test]
    fn user_password_and_database_are_decoded() {
        let address = Address::parse("rediss://me:a%40b:c%2F%25,%C3%A9@h:1/15").unwrap();
        assert!(address.tls);
        assert_eq!(address.user.as_deref(), Some("me"));
        assert_eq!(address.password, Some(Secret("a@b:c/%,é".to_owned().into_bytes())));
        assert_eq!(address.database, 15);
        let address = Address::parse("redis://:p@h/").unwrap();
        assert_eq!((address.user, address.password), (None, Some(Secret(b"p".to_vec()))));
        // An @ in a password is the last but one.
        let address = Address::parse("redis://:p@q@h").unwrap();
        assert_eq!(address.password, Some(Secret(b"p@q".to_vec())));
    }

    #[test]
    fn a_socket_has_a_path_and_a_query() {
        let address = Address::parse("unix:///run/a%20b.sock?db=2&user=me&pass=a%26b").unwrap();
        assert_eq!(address.place, UrlPlace::Unix("/run/a b.sock".into()));
        assert_eq!(address.user.as_deref(), Some("me"));
        assert_eq!((address.password, address.database), (Some(Secret(b"a&b".to_vec())), 2));
    }

    #[test]
    fn what_is_wrong_is_said_without_user_and_password() {
        for wrong in [
            "",
            "localhost:6379",
            "http://h",
            "redis://",
            "redis://geheim:geheim@",
            "redis://geheim:geheim@h:x",
            "redis://geheim:geheim@h:70000",
            "redis://geheim:geheim@h,,i",
            "redis://geheim:geheim@h/x",
            "redis://geheim:geheim@h/-1",
            "redis://geheim:geheim#@h",
            "redis://geheim:geheim%@h",
            "redis://geheim:geheim%4@h",
            "redis://geheim:geheim%+1@h",
            "redis://geheim:geheim%FF@h",
            "redis://geheim:geheim@h#insecure",
            "redis://h,redis://geheim:geheim@i",
            "redis://h/1,redis://i/2",
            "unix://geheim",
            "unix:///p?geheim=1",
            "unix:///p?db=x",
        ] {
            let sentence = Address::parse(wrong).expect_err(wrong);
            assert!(!sentence.contains("geheim"), "{wrong}: {sentence}");
        }
        let shown = format!("{:?}", Address::parse("redis://u:geheim@h").unwrap());
        assert!(!shown.contains("geheim"), "{shown}");
    }

    #[test]
    fn an_endpoint_is_read_as_it_is_written() {
        for text in ["h:1", "127.0.0.1:65535", "[::1]:6379"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("::1:6379".parse::<HostPort>().unwrap().to_string(), "[::1]:6379");
        for wrong in ["", "h", "h:", "h:0", "h:x", ":1", "h:70000", "a b:1"] {
            assert!(wrong.parse::<HostPort>().is_err(), "{wrong}");
        }
    }
}
