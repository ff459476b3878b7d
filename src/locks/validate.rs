//! `POST /locks/validate`: checks a fencing token, for what the guards of this service do not protect.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES,
    names::{LockName, bind_lock},
};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Invocation, Operation, Store},
    types::{Code, FencingToken, Id, Timestamp},
};

/// Checks a fencing token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "lock": "nightly-report", "fencing_token": 1_769_860_800_000_000_u64 }))]
pub struct Validate {
    /// Name of the lock.
    pub lock: LockName,
    /// Fencing token to check.
    pub fencing_token: FencingToken,
}

/// A fencing token of a lease that holds the lock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lock": "nightly-report",
    "fencing_token": 1_769_860_800_000_000_u64,
    "valid": true,
    "expires_at": "2026-01-31T12:00:30.000Z",
    "expires_in_ms": 12_000
}))]
pub struct ValidToken {
    /// Name of the lock.
    pub lock: Id,
    /// Fencing token that was checked.
    pub fencing_token: u64,
    /// Always `true`.
    pub valid: bool,
    /// Moment at which the lease expires, by the clock of Redis.
    pub expires_at: Timestamp,
    /// Remaining time of the lease in milliseconds.
    pub expires_in_ms: u64,
}

impl Operation for Validate {
    const NAME: &'static str = "locks/validate";
    const CODES: &'static [Code] = CODES;
    type Reply = ValidToken;

    fn bind(&self, invocation: &mut Invocation) {
        let name = self.lock.id();
        bind_lock(invocation, name).arg("lock_name", name).arg("fencing_token", self.fencing_token);
    }
}

/// Validate a fencing token
///
/// For a resource that cannot compare tokens itself. The answer is true at that moment and may be over a
/// moment later; a command of this service that carries the header `Lockstep-Guard` is checked in the step
/// that does the work.
#[utoipa::path(
    post,
    path = "/locks/validate",
    operation_id = Validate::NAME,
    tag = "locks",
    request_body = Validate,
    responses((status = OK, body = ValidToken, description = "A lease with this token holds the lock.")),
)]
pub async fn validate(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Validate>,
) -> api::Result<ValidToken> {
    Ok(Answer::ok(store.run(&request, &context).await?))
}
