//! The address of a caller. Behind a gateway the connection has the address of the gateway, and the caller's is in a
//! header, which is believed only where the gateway is a trusted one.

use std::{fmt, net::IpAddr, str::FromStr};

use axum::http::{HeaderMap, header::FORWARDED};

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    /// The number of bits at its beginning that all addresses of the range have.
    bits: u32,
}

impl AddressRange {
    /// True if the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            self.bits == 0 || (one ^ other) >> (width - self.bits) == 0
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                same(u128::from(one.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// Fails with the sentence that says what a range is.
impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<AddressRange, String> {
        let refuse = || "a range is an address, or ADDRESS/BITS such as 10.0.0.0/8".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| refuse()))?;
        (bits <= width).then_some(AddressRange { address, bits }).ok_or_else(refuse)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The address of the caller whose request came from `peer` with these headers.
///
/// If the peer is a trusted gateway, this is the last address of `X-Forwarded-For` or `Forwarded` (RFC 7239) that is
/// none: each gateway appends the address of its own peer, and what stands before them the caller may have written. A
/// gateway sets one of the two headers and may pass on the caller's own other one. So where both are there and differ,
/// neither is believed.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[AddressRange]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let last_stranger = |chain: Vec<Option<IpAddr>>| {
        // A word that is no address ends the chain: nobody knows who has written what is before it.
        let mut known = peer;
        for address in chain.into_iter().rev() {
            let Some(address) = address else { break };
            known = address;
            if !is_trusted(address) {
                break;
            }
        }
        known
    };
    let forwarded_for = headers.contains_key(FORWARDED_FOR).then(|| {
        let addresses = items(headers, FORWARDED_FOR).map(|item| address_of(item.trim()));
        last_stranger(addresses.collect())
    });
    let forwarded = headers
        .contains_key(FORWARDED)
        .then(|| last_stranger(items(headers, FORWARDED.as_str()).map(for_of).collect()));
    match (forwarded_for, forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (one, other) => one.or(other).unwrap_or(peer),
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The items of all headers of a name, which are lists with commas.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| value.to_str().unwrap_or_default()).flat_map(|list| list.split(','))
}

/// The address in an element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn for_of(element: &str) -> Option<IpAddr> {
    let parameters = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    address_of(named.next()?.1.trim().trim_matches('"'))
}

/// An address with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.parse().ok();
    let bracketed = || text.strip_prefix('[')?.split(']').next()?.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|range| range.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        client_address(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn a_header_is_believed_from_a_trusted_gateway_only() {
        let header = [("x-forwarded-for", "192.0.2.7")];
        assert_eq!(client("198.51.100.1", &header), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &header), "192.0.2.7");
        assert_eq!(client("::ffff:10.1.2.3", &header), "192.0.2.7");
        assert_eq!(client("2001:db8::5", &header), "192.0.2.7");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn the_address_that_the_last_gateway_saw_counts() {
        for (value, found) in [
            ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
            ("203.0.113.9, 192.0.2.7, 10.9.9.9", "192.0.2.7"),
            ("10.9.9.9, 10.8.8.8", "10.9.9.9"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db9::1]:80", "2001:db9::1"),
            ("203.0.113.9, unknown", "10.1.2.3"),
            ("", "10.1.2.3"),
            ("192.0.2.7, unknown, 10.9.9.9", "10.9.9.9"),
        ] {
            assert_eq!(client("10.1.2.3", &[("x-forwarded-for", value)]), found, "{value}");
        }
        let two = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(client("10.1.2.3", &two), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_too_and_a_contradiction_is_not_believed() {
        for (value, found) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=\"192.0.2.7:80\";proto=https, for=10.2.2.2", "192.0.2.7"),
            ("for=\"[2001:db9::1]:4711\"", "2001:db9::1"),
            ("for=_hidden", "10.1.2.3"),
            ("proto=https", "10.1.2.3"),
        ] {
            assert_eq!(client("10.1.2.3", &[("forwarded", value)]), found, "{value}");
        }
        let same = [("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(client("10.1.2.3", &same), "192.0.2.7");
        let other = [("forwarded", "for=192.0.2.8"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(client("10.1.2.3", &other), "10.1.2.3");
    }

    #[test]
    fn a_range_is_an_address_with_a_number_of_bits() {
        let range = |text: &str| text.parse::<AddressRange>();
        assert!(range("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(range("203.0.113.9").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(!range("203.0.113.8/32").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(range("203.0.113.8/31").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(!range("::/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        for bad in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0/8"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
