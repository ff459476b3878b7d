//! `POST /locks/release`: releases a lock before its lease expires.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES,
    names::{LockName, LockNames, bind_processes},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// Releases a lock, or all locks of a lease over several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Release, example = json!({
    "lock": "nightly-report", "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct ReleaseLock {
    /// Name of the lock. A lease over several locks has `locks` instead.
    pub lock: Option<LockName>,
    /// Names of all locks of the lease, in any order.
    #[schema(min_items = 2, max_items = 32)]
    pub locks: Option<Vec<LockName>>,
    /// Id of the lease, from the answer to `POST /locks`.
    pub lease_id: Id,
}

/// A lock that was released.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "lock": "nightly-report",
    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "released": true
}))]
pub struct Released {
    /// Name of the lock; missing where the lease was over several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Id>,
    /// Names of the locks that were released, where the lease was over several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<Id>>,
    /// Id of the lease.
    pub lease_id: String,
    /// Always `true`.
    pub released: bool,
    /// Names of the locks that the lease had lost before, because an operator broke them; left out if
    /// there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Id>,
}

/// A release whose locks have been checked.
pub struct LeaseRelease {
    names: LockNames,
    lease_id: Id,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct LeaseReleased {
    lease_id: String,
    released: bool,
    lost: Vec<Id>,
}

impl Operation for LeaseRelease {
    const NAME: &'static str = "locks/release";
    const CODES: &'static [Code] = CODES;
    type Reply = LeaseReleased;

    fn bind(&self, invocation: &mut Invocation) {
        bind_processes(invocation).key("released_key", "released", &self.lease_id);
        self.names.bind_keys(invocation);
        invocation.arg("lease_id", &self.lease_id);
        self.names.bind_args(invocation);
    }
}

impl Command for ReleaseLock {
    type Operation = LeaseRelease;
    type Output = Released;

    async fn prepare(self, _: &Store, _: &Context) -> Result<LeaseRelease, Problem> {
        let ReleaseLock { lock, locks, lease_id } = self;
        Ok(LeaseRelease { names: LockNames::of(lock, locks)?, lease_id })
    }

    fn answer(
        release: &LeaseRelease,
        result: Result<Completed<LeaseReleased>, store::Error>,
    ) -> api::Result<Released> {
        let names = &release.names;
        Ok(Answer::ok(result?.map(|LeaseReleased { lease_id, released, lost }| {
            Released {
                lock: names.one().cloned(),
                locks: names
                    .several()
                    .map(|locks| locks.into_iter().filter(|name| !lost.contains(name)).collect()),
                lease_id,
                released,
                lost,
            }
        })))
    }
}

/// Release a lock
///
/// Only the lease that holds the lock can release it. The first call that waits for the lock gets it. A
/// repeat within a minute answers the same again, even if the lock has a new holder by then. A lease over
/// several locks is released as a whole.
#[utoipa::path(
    post,
    path = "/locks/release",
    operation_id = LeaseRelease::NAME,
    tag = "locks",
    request_body = ReleaseLock,
    responses((status = OK, body = Released, description = "The lock was released.")),
)]
pub async fn release(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ReleaseLock>,
) -> api::Result<Released> {
    request.run(&store, &context).await
}
