//! Redirects: what a node of a cluster answers about a slot that it does not serve. `failure` reads them,
//! and [`super::Topology`] follows them.

use std::fmt::{self, Display};

use crate::store::HostPort;

/// The answer of a node that has not run a call: another node is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// True for ASK, which holds for this call alone, because the slot is migrating; false for MOVED, which
    /// holds for all calls of the slot.
    pub ask: bool,
    /// The slot of the call's keys.
    pub slot: u16,
    /// The node to ask; `None` where the answering node does not know its name. The host is empty where it is that of
    /// the answering node.
    pub host_port: Option<HostPort>,
}

impl Redirect {
    /// Reads the error reply `MOVED 3999 127.0.0.1:6381` or `ASK 3999 127.0.0.1:6381` from its code and the
    /// text after it.
    pub fn parse(code: &str, details: &str) -> Option<Redirect> {
        let ask = match code {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let mut words = details.split_whitespace();
        let slot = words.next()?.parse().ok()?;
        let text = words.next()?;
        let host_port = match text.strip_prefix(':') {
            Some(port) => HostPort { host: String::new(), port: port.parse().ok()? },
            None => text.parse().ok()?,
        };
        Some(Redirect {
            ask,
            slot,
            host_port: Some(host_port).filter(|host_port| host_port.host != "?"),
        })
    }
}

impl Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = if self.ask { "ASK" } else { "MOVED" };
        write!(f, "{code} {} ", self.slot)?;
        match &self.host_port {
            Some(host_port) => host_port.fmt(f),
            None => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(details: &str) -> Option<(u16, Option<(String, u16)>)> {
        let redirect = Redirect::parse("MOVED", details)?;
        assert!(!redirect.ask);
        Some((redirect.slot, redirect.host_port.map(|host_port| (host_port.host, host_port.port))))
    }

    #[test]
    fn a_redirect_is_read_with_every_kind_of_host() {
        let to = |host: &str, port| Some((3999, Some((host.to_owned(), port))));
        assert_eq!(moved("3999 127.0.0.1:6381"), to("127.0.0.1", 6381));
        assert_eq!(moved("3999 node-1.example:6381"), to("node-1.example", 6381));
        assert_eq!(moved("3999 2001:db8::1:6381"), to("2001:db8::1", 6381));
        assert_eq!(moved("3999 :6381"), to("", 6381));
        assert_eq!(moved("3999 ?:6381"), Some((3999, None)));
        for wrong in ["", "3999", "70000 a:1", "3999 a", "3999 a:b", "x a:1"] {
            assert_eq!(moved(wrong), None, "{wrong}");
        }
        assert!(Redirect::parse("ASK", "1 a:1").unwrap().ask);
        assert_eq!(Redirect::parse("TRYAGAIN", "1 a:1"), None);
    }

    #[test]
    fn a_redirect_is_written_as_it_was_read() {
        for text in ["MOVED 3999 127.0.0.1:6381", "ASK 1 [::1]:6381", "MOVED 2 :6381"] {
            let (code, details) = text.split_once(' ').unwrap();
            assert_eq!(Redirect::parse(code, details).unwrap().to_string(), text);
        }
    }
}
