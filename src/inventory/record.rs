//! The stored records of this domain, read in Rust: for people who look at what Redis keeps. The scripts pack and
//! unpack them in `migrations-lua/lib`.

use serde_json::{Value, json};

use super::{HOLDS, movement_record};
use crate::store::{GeneratedId, KeyContent, KeyKind, PackedRecord, json_record, text_field};

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: "product", content: KeyContent::Record(product_to_json) },
    KeyKind { kind: HOLDS, content: KeyContent::SortedSet(hold_member_text) },
    KeyKind { kind: "movements", content: KeyContent::Log(movement_record::to_json) },
    KeyKind { kind: "allowance", content: KeyContent::Record(json_record) },
    KeyKind { kind: "reservations", content: KeyContent::SortedSet(text_field) },
    KeyKind { kind: "reservation", content: KeyContent::Record(reservation_to_json) },
];

/// The one layout of a product, and of a reservation: its first byte.
const LAYOUT: u8 = 1;

/// The names of the codes of a reservation's `status`, which begin at 1.
const STATUSES: [&str; 3] = ["held", "confirmed", "cancelled"];

/// Returns the record of a product as JSON, its price as a string of minor units.
fn product_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    if record.byte()? != LAYOUT {
        return None;
    }
    Some(json!({
        "low": record.byte()? == 1,
        "on_hand": record.whole()?,
        "reserved": record.whole()?,
        "sold": record.whole()?,
        "next_due": record.whole()?,
        "movements": record.whole()?,
        "version": record.whole()?,
        "low_stock": record.whole()?,
        "max_per_customer": record.whole()?,
        "initial": record.whole()?,
        "received": record.whole()?,
        "returned": record.whole()?,
        "damaged": record.whole()?,
        "lost": record.whole()?,
        "counted": record.whole()?,
        "other": record.whole()?,
        "scale": record.byte()?,
        "created_at": record.whole()?,
        "price": record.text()?,
        "currency": record.text()?,
        "name": record.json(Value::Null)?,
        "description": record.json(Value::Null)?,
        "metadata": record.json_to_end(Value::Null)?,
    }))
}

/// Returns the record of a reservation as JSON. One whose time is up is still `held` in its record.
fn reservation_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    if record.byte()? != LAYOUT {
        return None;
    }
    let status = STATUSES.get(usize::from(record.byte()?).checked_sub(1)?)?;
    let mut reservation = json!({
        "status": status,
        "extensions": record.byte()?,
        "created_at": record.integer::<6>()?,
        "expires_at": record.integer::<6>()?,
        "customer_id": record.text()?,
    });
    let mut lines = Vec::new();
    while !record.is_at_end() {
        lines.push(json!({
            "product_id": record.text()?,
            "quantity": record.integer::<5>()?,
            "confirmed": record.integer::<5>()?,
            "released": record.integer::<5>()?,
        }));
    }
    reservation["lines"] = lines.into();
    Some(reservation)
}

/// Returns a member of the set of a product's holds as `units:reservation_id`.
fn hold_member_text(bytes: &[u8]) -> Option<String> {
    let mut record = PackedRecord::new(bytes);
    let (units, id) = (record.integer::<5>()?, record.bytes::<16>()?);
    record.is_at_end().then(|| format!("{units}:{}", GeneratedId::of_bytes("res_", id)))
}
