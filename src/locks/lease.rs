//! Leases as answers have them: acquiring and renewing answer the same.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::names::LockNames;
use crate::types::{Id, Metadata, Timestamp};

/// A lease: the right to hold a lock, or several, until it expires.
#[derive(Debug, Serialize, ToSchema)]
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
    /// Name of the lock; missing from a lease over several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Id>,
    /// Name of the holder, as the caller gave it when the lock was acquired.
    pub owner: String,
    /// Mode of the lease, as the caller gave it.
    pub mode: Mode,
    /// For the mode `permit`: number of leases that can hold the lock at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permits: Option<u32>,
    /// Number that is greater than that of every earlier lease on this lock. Send it in the header
    /// `Lockstep-Guard` of every command that the lock protects, and hand it to every other resource,
    /// so that a holder whose lease has ended is refused. Missing from a lease over several locks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
    /// For a lease over several locks: the locks with their fencing tokens, in the order of their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<LeasedLock>>,
    /// Moment at which the lease expires, by the clock of Redis.
    pub expires_at: Timestamp,
    /// Remaining time of the lease in milliseconds.
    pub expires_in_ms: u64,
    /// Time in milliseconds for which the call waited in the queue; missing where a lease is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<u64>,
    /// Metadata that the caller gave when the lock was acquired.
    pub metadata: Metadata,
}

/// One of the locks that a lease is over.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeasedLock {
    /// Name of the lock.
    pub lock: Id,
    /// Fencing token of the lease for this lock.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub fencing_token: u64,
}

/// The mode of a lease: which others can hold the lock at the same time.
///
/// - `exclusive`: none.
/// - `shared`: others that are `shared`, at most 1,000 at a time.
/// - `permit`: others that are `permit`, `permits` at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No other lease holds the lock.
    #[default]
    Exclusive,
    /// Other shared leases hold the lock too.
    Shared,
    /// A limited number of leases hold the lock.
    Permit,
}

impl Mode {
    /// The word that callers and scripts write.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Exclusive => "exclusive",
            Mode::Shared => "shared",
            Mode::Permit => "permit",
        }
    }
}

/// The fields of a script's reply that tell a lease.
#[derive(Debug, Deserialize)]
pub struct LeaseReply {
    pub lease_id: String,
    pub owner: String,
    pub mode: Mode,
    pub permits: Option<u32>,
    pub locks: Vec<LeasedLock>,
    pub expires_at: Timestamp,
    pub expires_in_ms: u64,
    pub metadata: Metadata,
}

impl LeaseReply {
    /// The lease as the answer to a call about `names`.
    pub fn into_lease(self, names: &LockNames, waited_ms: Option<u64>) -> Lease {
        let LeaseReply {
            lease_id,
            owner,
            mode,
            permits,
            locks,
            expires_at,
            expires_in_ms,
            metadata,
        } = self;
        let fencing_token = names.one().and(locks.first()).map(|first| first.fencing_token);
        Lease {
            lease_id,
            lock: names.one().cloned(),
            owner,
            mode,
            permits,
            fencing_token,
            locks: names.one().is_none().then_some(locks),
            expires_at,
            expires_in_ms,
            waited_ms,
            metadata,
        }
    }
}
