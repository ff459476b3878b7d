//! The stored records of this domain as JSON, for people who look at what Redis keeps. Scripts pack them in
//! `migrations-lua/lib`: a limit in the file of its algorithm, and a policy in `policy.lua`.

use serde_json::{Map, Value, json};

use crate::store::{KeyContent, KeyKind, PackedRecord, text_field};

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: "limit", content: KeyContent::Record(limit_to_json) },
    KeyKind { kind: "limit_log", content: KeyContent::SortedSet(text_field) },
    KeyKind { kind: "limit_policy", content: KeyContent::Record(policy_to_json) },
];

/// Returns the state of a limit as JSON. Its first byte is the code of its algorithm.
fn limit_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let (algorithm, names): (_, &[&str]) = match record.byte()? {
        1 => ("token_bucket", &["at", "level", "per_token"]),
        3 => ("sliding_counter", &["at", "width_ms", "used"]),
        4 => ("fixed_window", &["at", "begins", "used"]),
        5 => ("concurrency", &["used", "next_end"]),
        _ => return None,
    };
    let mut fields = Map::new();
    fields.insert("algorithm".to_owned(), algorithm.into());
    for name in names {
        fields.insert((*name).to_owned(), record.whole()?.into());
    }
    if algorithm == "sliding_counter" {
        let mut buckets = Vec::new();
        while !record.is_at_end() {
            buckets.push(json!({ "number": record.whole()?, "units": record.whole()? }));
        }
        fields.insert("buckets".to_owned(), buckets.into());
    }
    record.is_at_end().then_some(Value::Object(fields))
}

/// Returns a policy as JSON.
fn policy_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    if record.byte()? != 1 {
        return None;
    }
    let (version, updated_at) = (record.whole()?, record.whole()?);
    // The numbers of the algorithm are those of the rule, which follows as JSON.
    record.byte()?;
    for _ in 0..4 {
        record.whole()?;
    }
    record.byte()?;
    let rule = record.json_to_end(Value::Null)?;
    Some(json!({ "version": version, "updated_at": updated_at, "rule": rule }))
}
