//! Rate limits that are exact however many instances of the service and of its callers there are.
//!
//! `check` has the one operation, and `rule` the algorithms and their limits. This file has the
//! routes that `app` serves, and the commands that `domains` offers to `/atomic` and `/bulk`.

mod check;
pub mod codes;
mod rule;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::CommandEntry,
    store::{KeyContent, KeyKind, Store, json_record, text_field},
};

pub use codes::CODES;

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(check::check))
}

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: "bucket", content: KeyContent::Record(json_record) },
    KeyKind { kind: "window", content: KeyContent::SortedSet(text_field) },
];

/// The commands of this domain that `/atomic` and `/bulk` can run.
pub const COMMANDS: &[CommandEntry] = &[CommandEntry::of::<check::CheckRequest>()];
