//! Locks: a name is held by one lease, or by several that share it, for a limited time, and the lease's
//! secret id proves it.
//!
//! Each operation has a file of its own. `names` reads which locks a call is about, `lease` is what it
//! answers, `acquisition` is the way of a call that acquires, and `waiters` are the calls that wait. This
//! file has the routes that `app` serves and the commands that `domains` offers to `/atomic` and `/bulk`.

mod acquire;
mod acquisition;
mod r#break;
pub mod codes;
mod get;
mod heartbeat;
mod lease;
mod list;
mod names;
mod record;
mod release;
mod renew;
mod validate;
mod waiters;
mod withdraw;

use axum::Extension;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    api::CommandEntry,
    store::{KeyContent, KeyKind, Store, text_field, text_record},
};

pub use codes::CODES;

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(acquire::acquire).layer(Extension(waiters::Waiters::default())))
        .routes(routes!(renew::renew))
        .routes(routes!(release::release))
        .routes(routes!(validate::validate))
        .routes(routes!(r#break::break_lock))
        .routes(routes!(get::get))
        .routes(routes!(list::list))
}

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: "lock", content: KeyContent::Record(record::lock_to_json) },
    KeyKind { kind: "lock_queue", content: KeyContent::SortedSet(text_field) },
    KeyKind { kind: "processes", content: KeyContent::SortedSet(text_field) },
    KeyKind { kind: "released", content: KeyContent::Record(text_record) },
];

/// The commands of this domain that `/atomic` and `/bulk` can run. A lock can be released together
/// with the work that it protects, but it has to be acquired before that work, in a call of its own.
pub const COMMANDS: &[CommandEntry] = &[CommandEntry::of::<release::ReleaseLock>()];
