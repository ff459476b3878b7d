//! `POST /locks/break`: an operator takes a lock away from its holders.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES,
    get::Holder,
    names::{LockName, bind_lock, bind_processes},
};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Text},
};

/// Takes a lock away from all its holders.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lock": "nightly-report", "reason": "worker-7 hangs since 12:00" }))]
pub struct BreakLock {
    /// Name of the lock.
    pub lock: LockName,
    /// Why, 1 to 200 characters. The holders who lose the lock are told.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub reason: Text<1, 200>,
}

/// A lock that was taken away from its holders.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lock": "nightly-report",
    "broken": [{
        "owner": "worker-7",
        "mode": "exclusive",
        "fencing_token": 1_769_860_800_000_000_u64,
        "expires_in_ms": 12_000,
        "metadata": {}
    }],
    "reason": "worker-7 hangs since 12:00",
    "last_fencing_token": 1_769_860_818_000_000_u64
}))]
pub struct BrokenLock {
    /// Name of the lock.
    pub lock: Id,
    /// Holders whose leases have ended, the first 20 of them; empty for a lock that was free.
    pub broken: Vec<Holder>,
    /// Why, as the caller gave it.
    pub reason: String,
    /// Number above all fencing tokens that were given before; the next one is greater still.
    pub last_fencing_token: u64,
}

impl Operation for BreakLock {
    const NAME: &'static str = "locks/break";
    const CODES: &'static [Code] = CODES;
    type Reply = BrokenLock;

    fn bind(&self, invocation: &mut Invocation) {
        let name = self.lock.id();
        bind_processes(invocation);
        bind_lock(invocation, name)
            .derived_key("queue_key", "lock_queue", name)
            .arg("lock_name", name)
            .arg("reason", Text::json(Some(&self.reason)));
    }
}

/// Break a lock
///
/// For operators: all leases on the lock end at once, and the first call that waits for it gets it. A
/// holder who renews is told that its lease has ended, and why; one that goes on is refused wherever its
/// fencing token is checked.
#[utoipa::path(
    post,
    path = "/locks/break",
    operation_id = BreakLock::NAME,
    tag = "locks",
    request_body = BreakLock,
    responses((status = OK, body = BrokenLock, description = "Nobody held the lock at that moment.")),
)]
pub async fn break_lock(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<BreakLock>,
) -> api::Result<BrokenLock> {
    let completed = store.run(&request, &context).await?;
    if !completed.replayed {
        let BrokenLock { lock, broken, reason, .. } = &completed.reply;
        tracing::warn!(%lock, space = %context.space, holders = broken.len(), reason, "a lock was broken");
    }
    Ok(Answer::ok(completed))
}
