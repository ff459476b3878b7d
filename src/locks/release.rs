//! `POST /locks/release`: releases a lock before its lease expires.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_lock};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// Releases a lock.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Release, example = json!({
    "lock": "nightly-report", "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct ReleaseLock {
    /// Name of the lock.
    pub lock: Id,
    /// Id of the lease that holds the lock, from the answer to `POST /locks`.
    pub lease_id: Id,
}

/// A lock that was released.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lock": "nightly-report",
    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "released": true
}))]
pub struct Released {
    /// Name of the lock.
    pub lock: Id,
    /// Id of the lease that held the lock.
    pub lease_id: String,
    /// Always `true`.
    pub released: bool,
}

impl Operation for ReleaseLock {
    const NAME: &'static str = "locks/release";
    const CODES: &'static [Code] = CODES;
    type Reply = Released;

    fn bind(&self, invocation: &mut Invocation) {
        bind_lock(invocation, &self.lock)
            .key("released_key", "released", &self.lease_id)
            .arg("lock_name", &self.lock)
            .arg("lease_id", &self.lease_id);
    }
}

impl Command for ReleaseLock {
    type Operation = ReleaseLock;
    type Output = Released;

    async fn prepare(self, _: &Store, _: &Context) -> Result<ReleaseLock, Problem> {
        Ok(self)
    }

    fn answer(
        _: &ReleaseLock,
        result: Result<Completed<Released>, store::Error>,
    ) -> api::Result<Released> {
        Ok(Answer::ok(result?))
    }
}

/// Release a lock
///
/// Only the lease that holds the lock can release it. A repeat within a minute answers the same again,
/// even if the lock has a new holder by then.
#[utoipa::path(
    post,
    path = "/locks/release",
    operation_id = ReleaseLock::NAME,
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
