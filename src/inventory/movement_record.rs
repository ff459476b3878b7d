//! Packed movements, read from the log of a product. `inventory/movements` answers them; the scripts pack them by
//! `migrations-lua/lib/movement_layout.lua` and `adjustment.lua`.

use super::movements::Movement;
use crate::{
    auth::Actor,
    store::{GeneratedId, RedisValue},
    types::{Id, Timestamp},
};

/// The reasons of movements of units that a reservation holds, whose codes begin at 1.
const HELD_REASONS: [&str; 4] = ["reserved", "sold", "released", "expired"];
/// The reasons of adjustments, whose codes begin at 16.
const ADJUSTMENT_REASONS: [&str; 7] =
    ["initial", "received", "returned", "damaged", "lost", "counted", "other"];
const FIRST_ADJUSTMENT: u8 = 16;

/// Reads an entry of a log.
impl TryFrom<RedisValue> for Movement {
    type Error = &'static str;

    fn try_from(value: RedisValue) -> Result<Movement, &'static str> {
        let RedisValue::Bytes(bytes) = value else { return Err("a movement that is no text") };
        unpack(&bytes).ok_or("a movement that cannot be read")
    }
}

/// Returns an entry of a log as JSON, as `inventory/movements` answers it.
pub(super) fn to_json(bytes: &[u8]) -> Option<serde_json::Value> {
    serde_json::to_value(unpack(bytes)?).ok()
}

fn unpack(bytes: &[u8]) -> Option<Movement> {
    let (&code, rest) = bytes.split_first()?;
    let index = |first: u8| code.checked_sub(first).map(usize::from);
    match index(FIRST_ADJUSTMENT) {
        Some(index) => unpack_adjustment(ADJUSTMENT_REASONS.get(index)?, rest),
        None => unpack_held(HELD_REASONS.get(index(1)?)?, rest),
    }
}

fn unpack_held(reason: &str, mut rest: &[u8]) -> Option<Movement> {
    let [units, on_hand, reserved] =
        [take(&mut rest, 5)?, take(&mut rest, 5)?, take(&mut rest, 5)?];
    let created_at = Timestamp::from_us(take(&mut rest, 6)? * 1000);
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (customer, actor) = rest.split_at(rest.iter().position(|byte| *byte == 0)?);
    let customer = std::str::from_utf8(customer).ok()?.to_owned();
    let customer_id = if customer.is_empty() { None } else { Some(Id::try_from(customer).ok()?) };
    let actor = match &actor[1..] {
        [] => None,
        actor => Some(Actor::read(actor)?),
    };
    let units = i64::try_from(units).ok()?;
    Some(Movement {
        reason: reason.to_owned(),
        on_hand_change: if reason == "sold" { -units } else { 0 },
        reserved_change: if reason == "reserved" { units } else { -units },
        on_hand,
        reserved,
        actor_name: actor.as_ref().map(|actor| actor.name.clone()),
        customer_id: customer_id.clone().filter(|_| actor.is_some()),
        actor: actor.map(|actor| actor.key_id).or(customer_id.map(String::from)),
        reference: Some(GeneratedId::of_bytes("res_", *id).to_string()),
        created_at,
    })
}

fn unpack_adjustment(reason: &str, mut rest: &[u8]) -> Option<Movement> {
    // Of 48 bits, the highest one is the sign.
    let delta = (take(&mut rest, 6)? << 16).cast_signed() >> 16;
    let [on_hand, reserved] = [take(&mut rest, 5)?, take(&mut rest, 5)?];
    let created_at = Timestamp::from_us(take(&mut rest, 6)? * 1000);
    let (reference, actor) = Actor::split(rest)?;
    let reference = match reference {
        [] => None,
        json => Some(serde_json::from_slice(json).ok()?),
    };
    Some(Movement {
        reason: reason.to_owned(),
        on_hand_change: delta,
        reserved_change: 0,
        on_hand,
        reserved,
        actor_name: actor.as_ref().map(|actor| actor.name.clone()),
        actor: actor.map(|actor| actor.key_id),
        customer_id: None,
        reference,
        created_at,
    })
}

/// Takes a whole number of `size` bytes off the front, the lowest byte first.
fn take(rest: &mut &[u8], size: usize) -> Option<u64> {
    let (number, after) = rest.split_at_checked(size)?;
    *rest = after;
    Some(number.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct.pack('<BI5I5I5I6c16s', 2, 1000000000000, 7, 1, 1769860800123, id, 'carol')`.
    fn sold() -> Vec<u8> {
        let mut bytes = vec![2, 0x00, 0x10, 0xa5, 0xd4, 0xe8, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        bytes.extend([0x7b, 0x68, 0x2e, 0x14, 0x9c, 0x01]);
        bytes.extend([0xab; 16]);
        bytes.extend(b"carol\0");
        bytes
    }

    #[test]
    fn a_movement_is_read_to_its_last_byte() {
        let movement = unpack(&sold()).unwrap();
        assert_eq!((movement.reason.as_str(), movement.on_hand), ("sold", 7));
        assert_eq!(movement.on_hand_change, -1_000_000_000_000);
        assert_eq!(movement.reserved_change, -1_000_000_000_000);
        assert_eq!(movement.reserved, 1);
        assert_eq!(movement.actor.unwrap().as_str(), "carol");
        assert_eq!(movement.reference.unwrap(), format!("res_{}", "ab".repeat(16)));
        let lost = [&[20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0; 16], b"\"shelf 4\""];
        let lost = unpack(&lost.concat()).unwrap();
        assert_eq!((lost.on_hand_change, lost.reference.as_deref()), (-1, Some("shelf 4")));
    }

    #[test]
    fn bytes_that_are_no_movement_are_not_read() {
        let sold = sold();
        assert!((0..sold.len()).all(|end| unpack(&sold[..end]).is_none()));
        for code in [0, 5, 15, 23, 255] {
            assert!(unpack(&[&[code], &sold[1..]].concat()).is_none(), "{code}");
        }
    }
}
