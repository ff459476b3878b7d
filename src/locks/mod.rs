//! Locks: a name is held by at most one lease at a time, for a limited time, and the lease's secret id
//! proves it.
//!
//! Each operation has a file of its own. This file has the routes that `app` serves, the commands
//! that `domains` offers to `/atomic` and `/bulk`, and what several operations share.

mod acquire;
pub mod codes;
mod get;
mod release;
mod renew;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{CommandEntry, Problem, ReservedNames},
    store::{Invocation, Store},
    types::{Id, Metadata, Timestamp},
};

pub use codes::CODES;

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(acquire::acquire))
        .routes(routes!(renew::renew))
        .routes(routes!(release::release))
        .routes(routes!(get::get))
}

/// The commands of this domain that `/atomic` and `/bulk` can run. A lock can be released together
/// with the work that it protects, but it has to be acquired before that work, in a call of its own.
pub const COMMANDS: &[CommandEntry] = &[CommandEntry::of::<release::ReleaseLock>()];

/// Returns the name of a lock unless a path hides it.
fn reject_reserved(lock: Id) -> Result<Id, Problem> {
    static RESERVED: LazyLock<ReservedNames> =
        LazyLock::new(|| ReservedNames::beside(router(), "/locks/{lock}"));
    RESERVED.check(lock, "/lock")
}

/// Binds the key of a lock, `lockstep:{space}:lock:<name>`.
fn bind_lock<'a>(invocation: &'a mut Invocation, name: &Id) -> &'a mut Invocation {
    invocation.key("lock_key", "lock", name)
}

/// A lease: the right to hold a lock until it expires.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "lock": "nightly-report",
    "owner": "worker-7",
    "mode": "exclusive",
    "fencing_token": 1_769_860_800_000_000_u64,
    "expires_at": "2026-01-31T12:00:30.000Z",
    "expires_in_ms": 30_000,
    "metadata": {}
}))]
pub struct Lease {
    /// Secret id of the lease. Whoever knows it can renew and release the lease.
    pub lease_id: String,
    /// Name of the lock.
    pub lock: Id,
    /// Name of the holder, as the caller gave it when the lock was acquired.
    pub owner: String,
    /// Mode of the lease: only `exclusive`, with which the lock has no other holder.
    pub mode: Mode,
    /// Number that is greater than that of every earlier lease on this lock. Pass it to the resource
    /// that the lock protects, so that it can turn away writers whose lease has expired.
    pub fencing_token: u64,
    /// Moment at which the lease expires, by the clock of Redis.
    pub expires_at: Timestamp,
    /// Remaining time of the lease in milliseconds.
    pub expires_in_ms: u64,
    /// Metadata that the caller gave when the lock was acquired.
    pub metadata: Metadata,
}

/// The mode of a lease. With `exclusive` no other lease can hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The lock has one holder at most.
    Exclusive,
}

/// The holder of a lock as everybody can see it, without the secret id of the lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Name of the holder, as the caller gave it when the lock was acquired.
    #[schema(example = "worker-7")]
    pub owner: String,
    /// Mode of the lease: only `exclusive`, with which the lock has no other holder.
    pub mode: Mode,
    /// Fencing token of the lease.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub fencing_token: u64,
    /// Remaining time of the lease in milliseconds.
    #[schema(example = 30_000)]
    pub expires_in_ms: u64,
    /// Metadata that the caller gave when the lock was acquired.
    pub metadata: Metadata,
}
