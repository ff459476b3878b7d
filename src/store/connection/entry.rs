//! Entries: what a server asks of a connection before it serves, the certificate of a client, a user and a password.
//! `route` reads it anew for each connection, because files may hold other secrets by then.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, crypto::ring},
};

use super::address::{Address, Secret};
use crate::{
    pem_file::{read_certificates, read_private_key, unreadable},
    store::settings::Access,
};

/// The sources of the parts of an entry.
pub(super) struct EntrySources {
    user: Option<String>,
    password: Option<PasswordSource>,
    tls: Option<TlsFiles>,
    pub database: u32,
}

enum PasswordSource {
    Url(Secret),
    File(PathBuf),
}

/// The files of `rediss://`. Without a file of authorities, those that browsers trust are trusted.
struct TlsFiles {
    authorities: Option<PathBuf>,
    /// The certificate and its key.
    client: Option<(PathBuf, PathBuf)>,
}

/// An entry as it is now.
pub(super) struct ServerEntry {
    /// The user, where one is named, and the password.
    pub login: Option<(Option<String>, Secret)>,
    pub tls: Option<TlsConnector>,
}

impl ServerEntry {
    /// The command that logs in, where there is a password.
    pub fn login_command(&self) -> Option<Vec<&[u8]>> {
        let (user, Secret(password)) = self.login.as_ref()?;
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(user.as_ref().map(|user| user.as_bytes()));
        words.push(password);
        Some(words)
    }
}

impl EntrySources {
    /// Puts together what the URL and the other settings say.
    ///
    /// # Errors
    ///
    /// The sentence about settings that contradict each other, or about a file that cannot be used.
    pub fn of(address: &Address, access: &Access) -> Result<EntrySources, String> {
        let user = match (&address.user, &access.user) {
            (Some(_), Some(_)) => {
                return Err("give the user in --redis-url or by --redis-user, not both".to_owned());
            }
            (user, other) => user.as_ref().or(other.as_ref()).cloned(),
        };
        let password = match (&address.password, &access.password_file) {
            (Some(_), Some(_)) => {
                return Err(
                    "give the password in --redis-url or by --redis-password-file, not both"
                        .to_owned(),
                );
            }
            (Some(password), None) => Some(PasswordSource::Url(password.clone())),
            (None, file) => file.clone().map(PasswordSource::File),
        };
        if user.is_some() && password.is_none() {
            return Err("the Redis user needs a password: give --redis-password-file".to_owned());
        }
        let sources = EntrySources {
            user,
            password,
            tls: TlsFiles::of(address, access)?,
            database: address.database,
        };
        sources.read()?;
        Ok(sources)
    }

    /// True if connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// True if reading takes files.
    pub fn has_files(&self) -> bool {
        matches!(self.password, Some(PasswordSource::File(_)))
            || self
                .tls
                .as_ref()
                .is_some_and(|tls| tls.authorities.is_some() || tls.client.is_some())
    }

    /// Reads the files, and blocks while it does.
    ///
    /// # Errors
    ///
    /// The sentence about a file that cannot be used.
    pub fn read(&self) -> Result<ServerEntry, String> {
        let password = match &self.password {
            None => None,
            Some(PasswordSource::Url(password)) => Some(password.clone()),
            Some(PasswordSource::File(path)) => Some(read_password(path)?),
        };
        Ok(ServerEntry {
            login: password.map(|password| (self.user.clone(), password)),
            tls: self.tls.as_ref().map(TlsFiles::connector).transpose()?,
        })
    }
}

/// Reads a password: all of the file but the end of its last line.
fn read_password(path: &Path) -> Result<Secret, String> {
    let setting = "--redis-password-file";
    let mut text = fs::read(path).map_err(|error| unreadable(setting, path, error))?;
    if text.last() == Some(&b'\n') {
        text.pop();
        if text.last() == Some(&b'\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(format!("{} of {setting} has no password in it", path.display()));
    }
    Ok(Secret(text))
}

impl TlsFiles {
    fn of(address: &Address, access: &Access) -> Result<Option<TlsFiles>, String> {
        let client = match (&access.client_cert, &access.client_key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            _ => {
                return Err(
                    "--redis-client-cert and --redis-client-key belong together: give both"
                        .to_owned(),
                );
            }
        };
        let authorities = access.ca_file.clone();
        if address.tls {
            return Ok(Some(TlsFiles { authorities, client }));
        }
        if authorities.is_some() || client.is_some() {
            return Err(
                "certificates are used with a --redis-url of rediss:// only: change its scheme"
                    .to_owned(),
            );
        }
        Ok(None)
    }

    fn connector(&self) -> Result<TlsConnector, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.trusted()?);
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let setting = "--redis-client-cert";
                let certs = read_certificates(setting, cert)?;
                let setting = "--redis-client-key";
                let key_read = read_private_key(setting, key)?;
                builder.with_client_auth_cert(certs, key_read).map_err(|error| {
                    format!("{} of {setting} does not fit the certificate: {error}", key.display())
                })?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn trusted(&self) -> Result<RootCertStore, String> {
        let Some(path) = &self.authorities else {
            return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
        };
        let mut trusted = RootCertStore::empty();
        for certificate in read_certificates("--redis-ca-file", path)? {
            trusted.add(certificate).map_err(|error: rustls::Error| {
                format!("{} of --redis-ca-file has a wrong certificate: {error}", path.display())
            })?;
        }
        Ok(trusted)
    }
}
