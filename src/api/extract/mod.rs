//! Extractors: the parts of a request as handlers take them. Each refuses what it cannot read with
//! a problem.

mod caller;
mod if_match;
mod json;
mod path;
mod prefer;
mod query;

pub use caller::{Caller, CallerSpace, KeyManager, MAX_GUARDS, idempotency_key};
pub use if_match::IfMatch;
pub use json::{Json, JsonUpTo, read_body, read_json};
pub use path::{Path, PathNumber};
pub use prefer::{MAX_WAIT_MS, PreferredWait};
pub use query::{NoParameters, Query};
