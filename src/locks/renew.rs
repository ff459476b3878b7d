//! `POST /locks/renew`: lets a lease expire later.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES,
    lease::{Lease, LeaseReply},
    names::{LockName, LockNames, bind_index, bind_processes},
};
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
    /// Name of the lock. A lease over several locks has `locks` instead.
    pub lock: Option<LockName>,
    /// Names of all locks of the lease, in any order.
    #[schema(min_items = 2, max_items = 32)]
    pub locks: Option<Vec<LockName>>,
    /// Id of the lease, from the answer to `POST /locks`.
    pub lease_id: Id,
    /// Time in milliseconds, counted from now, after which the lease expires.
    pub ttl_ms: Ttl,
}

/// A renewal whose locks have been checked.
struct LeaseRenewal {
    names: LockNames,
    lease_id: Id,
    ttl_ms: Ttl,
}

impl Operation for LeaseRenewal {
    const NAME: &'static str = "locks/renew";
    const CODES: &'static [Code] = CODES;
    type Reply = LeaseReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_processes(invocation);
        bind_index(invocation);
        self.names.bind_keys(invocation);
        invocation.arg("lease_id", &self.lease_id).arg("ttl_ms", self.ttl_ms);
        self.names.bind_args(invocation);
    }
}

/// Renew a lease
///
/// The lease expires `ttl_ms` from now, which can be sooner than before. Its fencing tokens stay the
/// same. A lease that has ended cannot be renewed.
#[utoipa::path(
    post,
    path = "/locks/renew",
    operation_id = LeaseRenewal::NAME,
    tag = "locks",
    request_body = Renew,
    responses((status = OK, body = Lease, description = "The renewed lease.")),
)]
pub async fn renew(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(Renew { lock, locks, lease_id, ttl_ms }): Json<Renew>,
) -> api::Result<Lease> {
    let renewal = LeaseRenewal { names: LockNames::of(lock, locks)?, lease_id, ttl_ms };
    let renewed = store.run(&renewal, &context).await?;
    Ok(Answer::ok(renewed.map(|reply| reply.into_lease(&renewal.names, None))))
}
