//! The stored records of this domain, read in Rust: for people and tests that look at what Redis keeps. The
//! scripts pack and unpack them in `migrations-lua/lib`, and only their layout is known here too.

use serde_json::{Value, json};

use super::{
    HOLDS,
    transaction_place::{TRANSACTIONS, transaction_id_of},
};
use crate::{
    auth::Actor,
    store::{KeyContent, KeyKind, PackedRecord, text_field},
};

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: "account", content: KeyContent::Record(account_to_json) },
    KeyKind { kind: "external", content: KeyContent::Records(text_field, account_to_json) },
    KeyKind { kind: "postings", content: KeyContent::Log(posting_to_json) },
    KeyKind { kind: HOLDS, content: KeyContent::SortedSet(text_field) },
    KeyKind { kind: "hold", content: KeyContent::Record(hold_to_json) },
    KeyKind {
        kind: TRANSACTIONS,
        content: KeyContent::Records(transaction_id_of, transaction_to_json),
    },
];

/// The layouts of a record, its first byte: amounts as numbers, or as digits.
const NARROW: u8 = 1;
const WIDE: u8 = 2;
/// Only of transactions: amounts as numbers, of one that has no hold, reverses none and was not reversed.
const PLAIN: u8 = 3;

/// The names of the codes of `status`, which begin at 1.
const STATUSES: [&str; 5] = ["open", "closed", "frozen_debits", "frozen_credits", "frozen_both"];

/// The names of the codes of a hold's `status`.
const HOLD_STATUSES: [&str; 3] = ["open", "captured", "released"];

/// The names of the codes of a transaction's kind, which begin at 1.
const KINDS: [&str; 6] = ["deposit", "withdrawal", "transfer", "capture", "reversal", "sweep"];

/// Added to the code of a posting's kind where it is a credit.
const CREDIT: u8 = 16;

/// Returns an account record as JSON, its amounts as strings of minor units and `max_balance` empty for none;
/// `None` where the bytes are none.
pub fn account_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let layout = record.byte()?;
    Some(json!({
        "status": name_of(&STATUSES, record.byte()?)?,
        "scale": record.byte()?,
        "next_due": record.whole()?,
        "postings": record.whole()?,
        "version": record.whole()?,
        "created_at": record.whole()?,
        "credits": amount(&mut record, layout)?,
        "debits": amount(&mut record, layout)?,
        "held": amount(&mut record, layout)?,
        "overdraft_limit": amount(&mut record, layout)?,
        // No amount is below zero, and -1 stands for none.
        "max_balance": Some(amount(&mut record, layout)?).filter(|digits| digits != "-1").unwrap_or_default(),
        "currency": record.text()?,
        "metadata": record.json_to_end(Value::Null)?,
    }))
}

/// Returns an entry of the log of an account as JSON, its amounts as strings of minor units.
fn posting_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let layout = record.byte()?;
    let code = record.byte()?;
    let (amounts, at_us, id) = match layout {
        NARROW => {
            let amounts = [amount(&mut record, layout)?, amount(&mut record, layout)?];
            (Some(amounts), record.whole()?, record.bytes::<16>()?)
        }
        _ => (None, record.whole()?, record.bytes::<16>()?),
    };
    let [amount, balance] = match amounts {
        Some(amounts) => amounts,
        None => [amount(&mut record, layout)?, amount(&mut record, layout)?],
    };
    let mut posting = json!({
        "kind": name_of(&KINDS, code % CREDIT)?,
        "direction": if code >= CREDIT { "credit" } else { "debit" },
        "amount": amount,
        "balance": balance,
        "created_at_us": at_us,
        "transaction_id": transaction_id_of(&id),
        "counterparty": record.text()?,
        "description": record.json(Value::Null)?,
    });
    add_metadata(&mut posting, record.json_with_actor(json!({}))?);
    Some(posting)
}

/// Adds the metadata, and the key of the caller where there is one.
fn add_metadata(record: &mut Value, (metadata, actor): (Value, Option<Actor>)) {
    record["metadata"] = metadata;
    if let Some(Actor { key_id, name }) = actor {
        record["actor"] = key_id.into();
        record["actor_name"] = name.into();
    }
}

/// Returns the record of a transaction as JSON, its amounts as strings of minor units, and `hold_id` and
/// `reverses` empty for none.
fn transaction_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let (layout, is_plain) = match record.byte()? {
        PLAIN => (NARROW, true),
        layout => (layout, false),
    };
    let mut transaction = json!({
        "kind": name_of(&KINDS, record.byte()?)?,
        "scale": record.byte()?,
        "created_at": record.whole()?,
        "amount": amount(&mut record, layout)?,
        "reversed": if is_plain { "0".to_owned() } else { amount(&mut record, layout)? },
        "from_account": record.text()?,
        "to_account": record.text()?,
        "currency": record.text()?,
        "hold_id": if is_plain { "" } else { record.text()? },
        "reverses": if is_plain { "" } else { record.text()? },
        "description": record.json(Value::Null)?,
    });
    add_metadata(&mut transaction, record.json_with_actor(json!({}))?);
    Some(transaction)
}

/// Returns the record of a hold as JSON, its amounts as strings of minor units; `None` where the bytes are none.
/// A hold whose time is up is still `open` in its record.
pub fn hold_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    let layout = record.byte()?;
    Some(json!({
        "status": name_of(&HOLD_STATUSES, record.byte()?)?,
        "scale": record.byte()?,
        "expires_at": record.integer::<6>()?,
        "created_at": record.integer::<6>()?,
        "amount": amount(&mut record, layout)?,
        "captured": amount(&mut record, layout)?,
        "released": amount(&mut record, layout)?,
        "from_account": record.text()?,
        "to_account": record.text()?,
        "currency": record.text()?,
        "description": record.json(Value::Null)?,
        "metadata": record.json_to_end(Value::Null)?,
    }))
}

/// The name of a code, which counts from 1.
fn name_of(names: &[&'static str], code: u8) -> Option<&'static str> {
    names.get(usize::from(code).checked_sub(1)?).copied()
}

/// The digits of an amount, in the layout of its record.
fn amount(record: &mut PackedRecord<'_>, layout: u8) -> Option<String> {
    match layout {
        NARROW => Some(record.whole()?.to_string()),
        WIDE => record.text().map(str::to_owned),
        _ => None,
    }
}
