//! The key that has done something, as it stands in records: its id, a blank, and its name as JSON, which
//! [`super::Principal::actor`] makes.

/// The id and the name of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The id.
    pub key_id: String,
    /// The name that it had then.
    pub name: String,
}

impl Actor {
    /// Reads what a record has of it; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Actor> {
        let (key_id, name) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Actor { key_id: key_id.to_owned(), name: serde_json::from_str(name).ok()? })
    }

    /// Splits the end of a record into its JSON and the key behind it, which byte 1 stands before.
    pub fn split(bytes: &[u8]) -> Option<(&[u8], Option<Actor>)> {
        match bytes.iter().position(|byte| *byte == 1) {
            None => Some((bytes, None)),
            Some(at) => Some((&bytes[..at], Some(Actor::read(&bytes[at + 1..])?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Principal, ScopeSet, SpaceSet};

    #[test]
    fn a_key_is_read_from_a_record_as_it_was_written() {
        let name = "che\"ck\u{1}out \u{fc}";
        let principal = Principal::new("4fTzPq81LmXw", name, ScopeSet::default(), SpaceSet::all());
        let actor = Actor { key_id: "4fTzPq81LmXw".to_owned(), name: name.to_owned() };
        let record = [b"{}\x01", principal.actor().as_bytes()].concat();
        assert_eq!(Actor::split(&record), Some((&b"{}"[..], Some(actor))));
        assert_eq!(Actor::split(b"{}"), Some((&b"{}"[..], None)));
        for broken in [&b"{}\x01"[..], b"\x01id", b"\x01id name", b"\x01id \xff"] {
            assert_eq!(Actor::split(broken), None, "{broken:?}");
        }
    }
}
