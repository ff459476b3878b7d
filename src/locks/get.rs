//! `GET /locks/{lock}`: reads who holds a lock.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Holder, bind_lock};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

/// Reads a lock by its name.
struct GetLock(Id);

/// A lock as it is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// Name of the lock.
    pub lock: Id,
    /// True if a lease holds the lock now.
    pub held: bool,
    /// Current holders; empty for a free lock.
    pub holders: Vec<Holder>,
    /// Fencing token of the newest lease; null if the lock has not been held for an hour or was never
    /// held.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub last_fencing_token: Option<u64>,
}

impl Operation for GetLock {
    const NAME: &'static str = "locks/get";
    const CODES: &'static [Code] = CODES;
    type Reply = Lock;

    fn bind(&self, invocation: &mut Invocation) {
        bind_lock(invocation, &self.0).arg("lock_name", &self.0);
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
