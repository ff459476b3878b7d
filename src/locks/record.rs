//! The record of a lock as JSON, for people who look at what is stored. `mod` lists it among the kinds of keys.
//! Scripts pack it in `migrations-lua/lib/lock.lua`.

use serde_json::{Value, json};

use crate::{auth::Actor, store::PackedRecord};

const MODES: [&str; 3] = ["exclusive", "shared", "permit"];

/// Decodes the record of a lock; `None` where the bytes have another layout. Leases that are over are among them
/// until the next call that changes the lock.
pub fn lock_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let version = record.byte()?;
    let mode = MODES.get(usize::from(record.byte()?).checked_sub(1)?)?;
    let permits = record.integer::<2>()?;
    let (lease_count, lapsed_count) = (record.integer::<2>()?, record.byte()?);
    let (last_fencing_token, newest_place) = (record.whole()?, record.whole()?);
    let indexed_until = record.whole()?;
    let leases = (0..lease_count).map(|_| lease(&mut record)).collect::<Option<Vec<_>>>()?;
    let lapsed = (0..lapsed_count).map(|_| lapsed(&mut record)).collect::<Option<Vec<_>>>()?;
    let known = version == 1 && record.is_at_end();
    known.then(|| {
        json!({
            "mode": mode,
            "permits": permits,
            "last_fencing_token": last_fencing_token,
            "newest_place": newest_place,
            "indexed_until": indexed_until,
            "leases": leases,
            "lapsed": lapsed,
        })
    })
}

fn lease(record: &mut PackedRecord<'_>) -> Option<Value> {
    let mut lease = json!({
        "expires_at": record.whole()?,
        "fencing_token": record.whole()?,
        "locks": record.byte()?,
        "lease_id": record.text()?,
        "owner": record.json(Value::Null)?,
    });
    let (metadata, actor) =
        PackedRecord::new(record.text()?.as_bytes()).json_with_actor(Value::Null)?;
    lease["metadata"] = metadata;
    if let Some(Actor { key_id, name }) = actor {
        lease["actor"] = key_id.into();
        lease["actor_name"] = name.into();
    }
    Some(lease)
}

fn lapsed(record: &mut PackedRecord<'_>) -> Option<Value> {
    Some(json!({
        "ended_at": record.whole()?,
        "lease_id": record.text()?,
        "reason": record.json(Value::Null)?,
    }))
}
