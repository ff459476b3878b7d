use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Holder, bind_lock};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

struct Get(Id);

/// How a lock stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    pub lock: Id,
    /// Whether anybody holds it now.
    pub held: bool,
    pub holders: Vec<Holder>,
    /// The token of the newest lease; null for a lock that was not held for an hour or more.
    #[schema(example = 1_769_860_800_000_000_u64)]
    pub last_fencing_token: Option<u64>,
}

impl Operation for Get {
    const NAME: &'static str = "locks/get";
    const CODES: &'static [Code] = CODES;
    type Reply = Lock;

    fn bind(&self, invocation: &mut Invocation) {
        bind_lock(invocation, &self.0).arg("lock_name", &self.0);
    }
}

/// Look at a lock
///
/// A lock needs no declaration: one that was never held is free.
#[utoipa::path(
    get,
    path = "/locks/{lock}",
    operation_id = Get::NAME,
    tag = "locks",
    params(("lock" = Id, Path)),
    responses((status = OK, body = Lock, description = "How the lock stands.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(lock): Path,
) -> api::Result<Lock> {
    Ok(Answer::ok(store.run(&Get(lock), &context).await?))
}
