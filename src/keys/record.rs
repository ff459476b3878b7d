//! The stored records of this domain as JSON, for people who look at what Redis keeps. Scripts pack them in
//! `migrations-lua/lib/caller_key.lua`.

use serde_json::{Map, Value};

use super::KEY;
use crate::store::{KeyContent, KeyKind, PackedRecord, text_record};

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: KEY, content: KeyContent::Record(key_to_json) },
    KeyKind { kind: "caller_keys", content: KeyContent::Record(text_record) },
];

/// Returns a key as JSON. It has the digests of its secrets, and not the secrets.
fn key_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    if record.byte()? != 1 {
        return None;
    }
    let mut fields = Map::new();
    let numbers =
        ["revision", "created_at", "last_used_at", "expires_at", "revoked_at", "previous_until"];
    for name in numbers {
        fields.insert(name.to_owned(), record.whole()?.into());
    }
    fields.insert("disabled".to_owned(), (record.byte()? == 1).into());
    for name in ["digest", "previous_digest"] {
        fields.insert(name.to_owned(), text_record(&record.bytes::<64>()?)?);
    }
    for name in ["name", "scopes", "spaces"] {
        fields.insert(name.to_owned(), record.json(Value::Null)?);
    }
    record.is_at_end().then_some(Value::Object(fields))
}
