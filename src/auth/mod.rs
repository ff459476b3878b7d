//! Callers, and what they may do: the text of their keys (`caller_key`), what a key allows (`scope`, `spaces`,
//! `principal`, and `actor` for records), what an operation requires (`requirement`), the keys that this process knows
//! (`key_ring`), and the address of a caller who fails (`address`, `failures`).
//!
//! Nothing here asks Redis: `keys` stores the keys and keeps the ring current, and `api::middleware` checks every call
//! against it.

mod actor;
mod address;
mod caller_key;
mod failures;
mod key_ring;
mod principal;
mod requirement;
mod scope;
mod spaces;

pub use actor::Actor;
pub use address::{AddressRange, client_address};
pub use caller_key::{CallerKey, KeyDigest, PresentedKey};
pub use failures::FailureLimiter;
pub use key_ring::{KeyRefusal, KeyRing, KnownKey};
pub use principal::Principal;
pub use requirement::Requirement;
pub use scope::{Scope, ScopeSet};
pub use spaces::SpaceSet;
