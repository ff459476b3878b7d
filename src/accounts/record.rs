//! Packed records of accounts and holds, read in Rust: for people and tests that look at what Redis keeps. The
//! scripts pack and unpack them in `migrations-lua/lib/account.lua` and `hold.lua`.

use serde_json::{Value, json};

/// The layouts of a record, its first byte.
const NARROW: u8 = 1;
const WIDE: u8 = 2;

/// The names of the codes of `status`, which begin at 1.
const STATUSES: [&str; 5] = ["open", "closed", "frozen_debits", "frozen_credits", "frozen_both"];

/// Returns an account record as JSON, its amounts as strings of minor units and `max_balance` empty for none;
/// `None` where the bytes are none.
pub fn account_to_json(bytes: &[u8]) -> Option<Value> {
    let (head, mut rest) = bytes.split_at_checked(3)?;
    let mut number = || {
        let (number, after) = rest.split_at_checked(8)?;
        rest = after;
        Some(f64::from_le_bytes(number.try_into().ok()?))
    };
    let [next_due, postings, version, created_at] = [number()?, number()?, number()?, number()?];
    let amounts: Vec<String> = match head[0] {
        NARROW => {
            let amounts = [number()?, number()?, number()?, number()?, number()?];
            amounts
                .map(|amount| if amount < 0.0 { String::new() } else { format!("{amount:.0}") })
                .into()
        }
        WIDE => {
            let mut parts = rest.splitn(6, |byte| *byte == 0);
            let amounts: Option<Vec<_>> =
                parts.by_ref().take(5).map(|part| String::from_utf8(part.to_vec()).ok()).collect();
            rest = parts.next()?;
            amounts?
        }
        _ => return None,
    };
    let [credits, debits, held, overdraft_limit, max_balance] = amounts.try_into().ok()?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (currency, metadata) = (std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]);
    Some(json!({
        "status": STATUSES.get(usize::from(head[1]).checked_sub(1)?)?,
        "scale": head[2],
        "credits": credits,
        "debits": debits,
        "held": held,
        "overdraft_limit": overdraft_limit,
        "max_balance": max_balance,
        "currency": currency,
        "next_due": next_due,
        "postings": postings,
        "version": version,
        "created_at": created_at,
        "metadata": serde_json::from_slice::<Value>(metadata).ok()?,
    }))
}

/// The names of the codes of a hold's `status`.
const HOLD_STATUSES: [&str; 3] = ["open", "captured", "released"];

/// Returns the record of a hold as JSON, its amounts as strings of minor units; `None` where the bytes are none.
/// A hold whose time is up is still `open` in its record.
pub fn hold_to_json(bytes: &[u8]) -> Option<Value> {
    let (head, rest) = bytes.split_at_checked(3)?;
    let (instants, mut rest) = rest.split_at_checked(12)?;
    let instant = |bytes: &[u8]| {
        bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut amounts = Vec::new();
    if head[0] == NARROW {
        let (numbers, after) = rest.split_at_checked(24)?;
        for number in numbers.chunks_exact(8) {
            amounts.push(format!("{:.0}", f64::from_le_bytes(number.try_into().ok()?)));
        }
        rest = after;
    } else if head[0] != WIDE {
        return None;
    }
    let texts = 7 - amounts.len();
    let mut parts = rest.splitn(texts + 1, |byte| *byte == 0);
    let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
    while amounts.len() < 3 {
        amounts.push(text()?);
    }
    let [amount, captured, released] = amounts.try_into().ok()?;
    let [from_account, to_account, currency, description] = [text()?, text()?, text()?, text()?];
    Some(json!({
        "status": HOLD_STATUSES.get(usize::from(head[1]).checked_sub(1)?)?,
        "scale": head[2],
        "expires_at": instant(&instants[..6]),
        "created_at": instant(&instants[6..]),
        "amount": amount,
        "captured": captured,
        "released": released,
        "from_account": from_account,
        "to_account": to_account,
        "currency": currency,
        "description": serde_json::from_str::<Value>(&description).ok()?,
        "metadata": serde_json::from_str::<Value>(&text()?).ok()?,
    }))
}
