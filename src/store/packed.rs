//! Packed records, read in Rust: what scripts write with `struct.pack`. The domains read their records with it,
//! for people who look at what is stored; scripts unpack them themselves.

use serde_json::Value;

use crate::auth::Actor;

/// The fields of a packed record that have not been read yet. Every method takes the next one, and returns
/// `None` where the bytes end before it or are not of that type.
#[derive(Debug, Clone, Copy)]
pub struct PackedRecord<'a>(&'a [u8]);

impl<'a> PackedRecord<'a> {
    /// A record of which nothing has been read.
    pub fn new(bytes: &'a [u8]) -> PackedRecord<'a> {
        PackedRecord(bytes)
    }

    /// A byte (`B`).
    pub fn byte(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    /// So many bytes (`c16`).
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// A number of 64 bits (`d`).
    pub fn number(&mut self) -> Option<f64> {
        self.bytes().map(f64::from_le_bytes)
    }

    /// A whole number, which is stored as a double.
    pub fn whole(&mut self) -> Option<i64> {
        // Below 2^53 the conversion is exact; what is beyond is no number of ours.
        self.number().filter(|number| number.fract() == 0.0).map(|number| number as i64)
    }

    /// A whole number of `N` bytes that is not below zero, the lowest byte first (`I5`, `I6`).
    pub fn integer<const N: usize>(&mut self) -> Option<u64> {
        const { assert!(N <= 8) };
        let bytes = self.bytes::<N>()?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// True if everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// A text that ends with a zero byte (`s`).
    pub fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        std::str::from_utf8(text).ok()
    }

    /// A JSON text that ends with a zero byte; `absent` where it is empty.
    pub fn json(&mut self, absent: Value) -> Option<Value> {
        parse(self.text()?.as_bytes(), absent)
    }

    /// The JSON text that takes all bytes that are left but for the caller's key behind it; `absent` where there is
    /// none.
    pub fn json_with_actor(self, absent: Value) -> Option<(Value, Option<Actor>)> {
        let (json, actor) = Actor::split(self.0)?;
        Some((parse(json, absent)?, actor))
    }

    /// The JSON text that takes all bytes that are left; `absent` where there are none.
    pub fn json_to_end(self, absent: Value) -> Option<Value> {
        parse(self.0, absent)
    }
}

fn parse(text: &[u8], absent: Value) -> Option<Value> {
    if text.is_empty() { Some(absent) } else { serde_json::from_slice(text).ok() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_come_in_the_order_of_the_bytes() {
        let mut bytes = vec![7];
        bytes.extend(9_007_199_254_740_991.0_f64.to_le_bytes());
        bytes.extend(0.5_f64.to_le_bytes());
        bytes.extend(b"USD\0\0{\"a\":1}");
        let mut record = PackedRecord::new(&bytes);
        assert_eq!(record.byte(), Some(7));
        assert_eq!(record.whole(), Some(9_007_199_254_740_991));
        assert_eq!(record.clone().whole(), None);
        assert_eq!(record.number(), Some(0.5));
        assert_eq!(record.text(), Some("USD"));
        assert_eq!(record.json(Value::Null), Some(Value::Null));
        assert_eq!(record.json_to_end(Value::Null), Some(json!({ "a": 1 })));
    }

    #[test]
    fn a_record_that_is_cut_off_has_no_more_fields() {
        let mut record = PackedRecord::new(b"abc");
        assert_eq!(record.number(), None);
        assert_eq!(record.text(), None);
        assert_eq!(record.bytes::<4>(), None);
        assert_eq!(record.json_to_end(Value::Null), None);
        assert_eq!(record.bytes(), Some(*b"abc"));
        assert_eq!(record.byte(), None);
        assert_eq!(record.json_to_end(json!({})), Some(json!({})));
    }
}
