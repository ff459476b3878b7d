//! Scripts: what runs inside Redis, and the reading of its replies.
//!
//! `header` reads the comment that opens a script, `assemble` makes one source of the runner, the shared
//! functions and the operation. It is made cheap to run: `constants` puts values in the place of names,
//! `prune` drops the functions that nothing calls, and `lazy` has the seldom ones created when they are called;
//! `names` finds the names for them. `library` keeps all scripts, and `reply` gives a reply's positions the
//! names of the header.

mod assemble;
mod constants;
mod header;
mod lazy;
mod library;
mod names;
mod prune;
mod reply;

pub use header::{Field, FieldKind, Header, KeyType, Params};
pub use library::{Library, Script};
pub use reply::{RawReply, RedisValue, ScriptValue};

pub(super) use library::{GUARD, RunOutcome};
