//! `POST /locks/renew`: lets a lease expire later.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Lease, bind_lock};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Ttl},
};

/// Renews a lease.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "lock": "nightly-report",
    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "ttl_ms": 30_000
}))]
pub struct Renew {
    /// Name of the lock.
    pub lock: Id,
    /// Id of the lease that holds the lock, from the answer to `POST /locks`.
    pub lease_id: Id,
    /// Time in milliseconds, counted from now, after which the lease expires.
    pub ttl_ms: Ttl,
}

impl Operation for Renew {
    const NAME: &'static str = "locks/renew";
    const CODES: &'static [Code] = CODES;
    type Reply = Lease;

    fn bind(&self, invocation: &mut Invocation) {
        bind_lock(invocation, &self.lock)
            .arg("lock_name", &self.lock)
            .arg("lease_id", &self.lease_id)
            .arg("ttl_ms", self.ttl_ms);
    }
}

/// Renew a lease
///
/// The lease expires `ttl_ms` from now, which can be sooner than before. Its fencing token stays the
/// same. A lease that has expired cannot be renewed.
#[utoipa::path(
    post,
    path = "/locks/renew",
    operation_id = Renew::NAME,
    tag = "locks",
    request_body = Renew,
    responses((status = OK, body = Lease, description = "The renewed lease.")),
)]
pub async fn renew(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Renew>,
) -> api::Result<Lease> {
    Ok(Answer::ok(store.run(&request, &context).await?))
}
