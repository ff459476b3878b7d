//! The cache: values of callers, with a lease for the one who is to compute a value, so that what is slow never
//! overwrites what is newer.
//!
//! Each operation has a file of its own. `key` and `value` are what requests name and store, `lookup` is the way of a
//! call that gets, `waiters` are the calls that wait for somebody else's value, and
//! `statistics` counts. This file has the routes that `app`
//! serves and the commands that `domains` offers to `/atomic` and `/bulk`.

pub mod codes;
mod fill;
mod get;
mod invalidate;
mod key;
mod lookup;
mod read;
mod record;
mod set;
mod statistics;
mod value;
mod waiters;
mod withdraw;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::CommandEntry,
    store::{Invocation, KeyContent, KeyKind, Store, text_field},
};
use key::CacheKey;
use value::VALUES;

pub use codes::CODES;
pub use value::MAX_BODY_BYTES;

/// The kind of the key of an entry.
const ENTRY: &str = "cache";

/// The kind of the key of the tags that were invalidated.
const TAGS: &str = "tags";

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(get::get))
        .routes(routes!(fill::fill))
        .routes(routes!(set::set))
        .routes(routes!(invalidate::invalidate))
        .routes(routes!(statistics::stats))
        .routes(routes!(read::read))
}

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: ENTRY, content: KeyContent::Record(record::entry_to_json) },
    KeyKind { kind: VALUES, content: KeyContent::Records(text_field, large_value) },
    KeyKind { kind: TAGS, content: KeyContent::SortedSet(text_field) },
];

/// The commands of this domain that `/atomic` and `/bulk` can run. A lease is for the time in which a caller computes
/// something, so what gives and takes one is in a call of its own.
pub const COMMANDS: &[CommandEntry] =
    &[CommandEntry::of::<set::SetValue>(), CommandEntry::of::<invalidate::Invalidate>()];

/// Binds the key of an entry.
fn bind_entry<'a>(invocation: &'a mut Invocation, key: &CacheKey) -> &'a mut Invocation {
    invocation.key("entry_key", ENTRY, key)
}

/// Binds the key of the tags of the space.
fn bind_tags(invocation: &mut Invocation) -> &mut Invocation {
    invocation.derived_key("tags_key", TAGS, ENTRY)
}

/// Decodes a large value; bytes that are no text lose what is none.
fn large_value(bytes: &[u8]) -> Option<serde_json::Value> {
    let value = bytes.get(16..)?;
    Some(String::from_utf8_lossy(value).into_owned().into())
}
