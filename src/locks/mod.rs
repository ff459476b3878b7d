//! Leases on names: held by one or by none, proved by a secret, over when they say so.

mod acquire;
pub mod codes;
mod get;
mod release;
mod renew;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::CommandEntry,
    store::{Invocation, Store},
    types::{Id, Metadata, Timestamp},
};

pub use codes::CODES;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(acquire::acquire))
        .routes(routes!(renew::renew))
        .routes(routes!(release::release))
        .routes(routes!(get::get))
}

/// Its commands that can be one of several. A lock is taken before the work that it is for, and so not
/// together with it.
pub const COMMANDS: &[CommandEntry] = &[CommandEntry::of::<release::Release>()];

fn bind_lock<'a>(invocation: &'a mut Invocation, name: &Id) -> &'a mut Invocation {
    invocation.key("lock_key", "lock", name)
}

/// A lock, held.
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
    /// Proves the lease; keep it to yourself.
    pub lease_id: String,
    /// What the caller calls the lock.
    pub lock: Id,
    /// Who holds it, as told when it was acquired.
    pub owner: String,
    /// Who else may hold it.
    pub mode: Mode,
    /// Greater than that of every lease on this lock before. Hand it to what the lock protects.
    pub fencing_token: u64,
    /// When it is over, from that millisecond on.
    pub expires_at: Timestamp,
    /// How long it still lasts.
    pub expires_in_ms: u64,
    /// The caller's own notes.
    pub metadata: Metadata,
}

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nobody.
    Exclusive,
}

/// Who holds a lock, as others may see it: without the lease's id.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Who holds it, as told when it was acquired.
    #[schema(example = "worker-7")]
    pub owner: String,
    /// Who else may hold it.
    pub mode: Mode,
    /// Its fencing token.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub fencing_token: u64,
    /// How long it still lasts.
    #[schema(example = 30_000)]
    pub expires_in_ms: u64,
    /// The caller's own notes.
    pub metadata: Metadata,
}
