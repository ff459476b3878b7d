//! `GET /locks/{lock}`: reads who holds a lock and who waits for it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES,
    lease::Mode,
    names::{bind_lock, bind_processes},
};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Metadata},
};

/// Reads a lock by its name.
struct GetLock(Id);

/// A lock as it is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lock": "nightly-report",
    "held": true,
    "mode": "exclusive",
    "permits": null,
    "holders": [{
        "owner": "worker-7",
        "mode": "exclusive",
        "fencing_token": 1_769_860_800_000_000_u64,
        "expires_in_ms": 12_000,
        "metadata": {}
    }],
    "holder_count": 1,
    "queue": [{ "owner": "worker-8", "mode": "exclusive", "waiting_ms": 1500 }],
    "queue_length": 1,
    "last_fencing_token": 1_769_860_800_000_000_u64
}))]
pub struct Lock {
    /// Name of the lock.
    pub lock: Id,
    /// True if a lease holds the lock now.
    pub held: bool,
    /// Mode of the leases that hold the lock, which is the same for all; null for a free lock.
    pub mode: Option<Mode>,
    /// For the mode `permit`: number of leases that can hold the lock at the same time; otherwise null.
    pub permits: Option<u32>,
    /// Current holders, the first 20 of them; empty for a free lock.
    pub holders: Vec<Holder>,
    /// Number of leases that hold the lock.
    pub holder_count: u64,
    /// Calls that wait for the lock, the first 100 of them in their order.
    pub queue: Vec<LockWaiter>,
    /// Number of calls that wait for the lock. Beyond 100 it may count some that have gone lately.
    pub queue_length: u64,
    /// Fencing token of the newest lease, or the number that took its place when the lock was broken; null
    /// if the lock has not been held for an hour or was never held.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub last_fencing_token: Option<u64>,
}

/// The holder of a lock as everybody can see it, without the secret id of the lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Name of the holder, as the caller gave it when the lock was acquired.
    #[schema(example = "worker-7")]
    pub owner: String,
    /// Mode of the lease.
    pub mode: Mode,
    /// Fencing token of the lease.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub fencing_token: u64,
    /// Remaining time of the lease in milliseconds.
    #[schema(example = 30_000)]
    pub expires_in_ms: u64,
    /// Metadata that the caller gave when the lock was acquired.
    pub metadata: Metadata,
    /// Id of the key with which the lock was acquired; missing where the service had no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "4fTzPq81LmXw")]
    pub actor: Option<String>,
    /// Name that this key had then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "checkout")]
    pub actor_name: Option<String>,
}

/// A call that waits for a lock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LockWaiter {
    /// Name of the caller, who will be the holder.
    #[schema(example = "worker-8")]
    pub owner: String,
    /// Mode that the caller asks for.
    pub mode: Mode,
    /// Time in milliseconds since the call entered the queue.
    #[schema(example = 1500)]
    pub waiting_ms: u64,
}

impl Operation for GetLock {
    const NAME: &'static str = "locks/get";
    const CODES: &'static [Code] = CODES;
    type Reply = Lock;

    fn bind(&self, invocation: &mut Invocation) {
        bind_processes(invocation);
        bind_lock(invocation, &self.0)
            .key("queue_key", "lock_queue", &self.0)
            .arg("lock_name", &self.0);
    }
}

/// Get a lock
///
/// A lock needs no declaration: one that was never held is free.
#[utoipa::path(
    get,
    path = "/locks/{lock}",
    operation_id = GetLock::NAME,
    tag = "locks",
    params(("lock" = Id, Path, description = "Name of the lock.")),
    responses((status = OK, body = Lock, description = "The lock as it is now.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(lock): Path,
) -> api::Result<Lock> {
    Ok(Answer::ok(store.run(&GetLock(lock), &context).await?))
}
