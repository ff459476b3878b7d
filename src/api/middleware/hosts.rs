//! The hosts that an open service on loopback answers for. A web page can have a name of its own lead to 127.0.0.1 (DNS
//! rebinding), and its script would then reach a service that asks for no key. Its requests name the page's host, and
//! those of a script on another page their origin.

use axum::http::{HeaderMap, Uri, header, uri::Authority};

use crate::{api::Problem, types::codes};

/// The hosts that requests may name.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    /// Names beside those of loopback; `*` stands for all.
    names: Vec<String>,
    /// Origins of pages that may call the service.
    origins: Vec<String>,
}

impl AllowedHosts {
    /// Those of loopback, these names, and pages of these origins.
    pub fn new(names: Vec<String>, origins: Vec<String>) -> AllowedHosts {
        AllowedHosts { names, origins }
    }

    /// Checks the host and the origin of a request.
    ///
    /// # Errors
    ///
    /// `host_not_allowed` or `origin_not_allowed`.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let named = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        for host in named.into_iter().chain(uri.authority().map(Authority::as_str)) {
            if !self.has(host) {
                return Err(Problem::refused(codes::HOST_NOT_ALLOWED, [("host", host.into())]));
            }
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            if !self.has(host) && !self.origins.iter().any(|own| own == origin || own == "*") {
                return Err(Problem::refused(
                    codes::ORIGIN_NOT_ALLOWED,
                    [("origin", origin.into())],
                ));
            }
        }
        Ok(())
    }

    /// True for a host, with or without a port, that is loopback's or one of the names.
    fn has(&self, host: &str) -> bool {
        if self.names.iter().any(|name| name == "*") {
            return true;
        }
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse();
        if address.is_ok_and(|address: std::net::IpAddr| address.to_canonical().is_loopback()) {
            return true;
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local || self.names.iter().any(|own| own.eq_ignore_ascii_case(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_names_are_allowed_and_nothing_else() {
        let hosts = AllowedHosts::new(vec!["pay.example".to_owned()], Vec::new());
        for good in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "app.localhost",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:80",
            "pay.example",
            "PAY.example:443",
        ] {
            assert!(hosts.has(good), "{good}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil-localhost",
            "10.0.0.1",
            "192.0.2.1:8080",
            "[2001:db8::1]",
            "0.0.0.0",
            "a.pay.example",
            "localhost@evil.example",
            "local host",
        ] {
            assert!(!hosts.has(foreign), "{foreign}");
        }
        assert!(AllowedHosts::new(vec!["*".to_owned()], Vec::new()).has("evil.example"));
    }
}
