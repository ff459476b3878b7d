//! Scripts: what runs inside Redis, and the reading of its replies.
//!
//! `header` reads the comment that opens a script, `assemble` makes one source of the runner, the shared
//! functions and the operation, `prune` drops the functions that it does not call, `library` keeps all
//! scripts, and `reply` gives a reply's positions the names of the header.

mod assemble;
mod header;
mod library;
mod prune;
mod reply;

pub use header::{Field, FieldKind, Header, KeyType, Params};
pub use library::{Library, Script};
pub use reply::{RawReply, RedisValue};

pub(super) use library::{GUARD, RunOutcome};
