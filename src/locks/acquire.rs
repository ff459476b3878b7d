//! `POST /locks`: acquires a lock for a limited time.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Lease, bind_lock, reject_reserved};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{GeneratedId, Invocation, Operation, Store},
    types::{Code, Id, Metadata, Text, Ttl},
};

/// Acquires a lock.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lock": "nightly-report", "owner": "worker-7", "ttl_ms": 30_000 }))]
pub struct Acquire {
    /// Name of the lock. A lock needs no declaration.
    pub lock: Id,
    /// Name of the holder, 1 to 200 characters. Everybody who reads the lock sees it.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub owner: Text<1, 200>,
    /// Time in milliseconds after which the lease expires unless it is renewed.
    #[serde(default = "Acquire::default_ttl")]
    #[schema(default = 30_000)]
    pub ttl_ms: Ttl,
    /// Entries that the caller attaches to the lease: at most 50 and 8 KiB. Everybody who reads the
    /// lock sees them.
    #[serde(default)]
    pub metadata: Metadata,
}

impl Acquire {
    fn default_ttl() -> Ttl {
        Ttl::from_ms(30_000)
    }
}

impl Operation for Acquire {
    const NAME: &'static str = "locks/acquire";
    const CODES: &'static [Code] = CODES;
    type Reply = Lease;

    fn bind(&self, invocation: &mut Invocation) {
        bind_lock(invocation, &self.lock)
            .arg("lock_name", &self.lock)
            .arg("owner", Text::json(Some(&self.owner)))
            .arg("ttl_ms", self.ttl_ms)
            .arg("metadata", &self.metadata)
            .generated_id("lease_id", GeneratedId::new("lease_"));
    }
}

/// Acquire a lock
///
/// The call does not wait: the lock is acquired at once, or the call is refused. The `lease_id` in the
/// answer is needed to renew and to release the lock. The `fencing_token` is greater than that of every
/// earlier lease on the lock.
#[utoipa::path(
    post,
    path = "/locks",
    operation_id = Acquire::NAME,
    tag = "locks",
    request_body = Acquire,
    responses((status = CREATED, body = Lease, description = "The lock was acquired.")),
)]
pub async fn acquire(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Acquire>,
) -> api::Result<Lease> {
    let request = Acquire { lock: reject_reserved(request.lock)?, ..request };
    Ok(Answer::created(store.run(&request, &context).await?))
}
