//! The record of a cache entry as JSON, for people who look at what is stored. `mod` lists it among the kinds of keys.
//! Scripts pack it in `migrations-lua/lib/cache_entry.lua`.

use serde_json::{Value, json};

use crate::store::PackedRecord;

const HAS_VALUE: u8 = 1;
const IS_BYTES: u8 = 2;
const VERSION_GIVEN: u8 = 4;
const IS_LARGE: u8 = 8;
const INVALIDATED: u8 = 32;
const HAS_LEASE: u8 = 64;

/// Decodes the record of an entry; `None` where the bytes have another layout. What has ended is among it until
/// the next call that changes the entry.
pub fn entry_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let layout = record.byte()?;
    let flags = record.byte()?;
    let has = |flag: u8| flags & flag != 0;
    let (version, stored_at, expires_at) = (record.whole()?, record.whole()?, record.whole()?);
    let (stale_ms, refresh_ms, tag_number) = (record.whole()?, record.whole()?, record.whole()?);
    let (tag_count, waiting_count) = (record.byte()?, record.byte()?);
    let lease = match has(HAS_LEASE) {
        true => lease(&mut record)?,
        false => Value::Null,
    };
    let mut texts = |count: u8| (0..count).map(|_| record.text()).collect::<Option<Vec<_>>>();
    let (tags, waiting) = (texts(tag_count)?, texts(waiting_count)?);
    (layout == 1).then(|| {
        json!({
            "version": version,
            "version_given": has(VERSION_GIVEN),
            "has_value": has(HAS_VALUE),
            "is_bytes": has(IS_BYTES),
            "is_large": has(IS_LARGE),
            "invalidated": has(INVALIDATED),
            "stored_at": stored_at,
            "expires_at": expires_at,
            "stale_ms": stale_ms,
            "refresh_ms": refresh_ms,
            "tags": tags,
            "tag_number": tag_number,
            "lease": lease,
            "waiting_processes": waiting,
        })
    })
}

fn lease(record: &mut PackedRecord<'_>) -> Option<Value> {
    Some(json!({
        "lease_token": record.text()?,
        "granted_at": record.whole()?,
        "expires_at": record.whole()?,
        "tag_number": record.whole()?,
    }))
}
