use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Lease, bind_lock};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{GeneratedId, Invocation, Operation, Store},
    types::{Code, Id, Metadata, Text, Ttl},
};

/// A lock to take.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lock": "nightly-report", "owner": "worker-7", "ttl_ms": 30_000 }))]
pub struct Acquire {
    pub lock: Id,
    /// Who takes it, for others to see.
    pub owner: Text<1, 200>,
    /// How long the lease lasts if it is not renewed.
    #[serde(default = "Acquire::default_ttl")]
    #[schema(default = 30_000)]
    pub ttl_ms: Ttl,
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
/// It is taken at once or refused. The answer's `lease_id` is the only proof of it, and its
/// `fencing_token` is greater than every earlier one of this lock.
#[utoipa::path(
    post,
    path = "/locks",
    operation_id = Acquire::NAME,
    tag = "locks",
    request_body = Acquire,
    responses((status = CREATED, body = Lease, description = "The lock is held.")),
)]
pub async fn acquire(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Acquire>,
) -> api::Result<Lease> {
    Ok(Answer::created(store.run(&request, &context).await?))
}
