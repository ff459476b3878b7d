use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_lock};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A lease to give back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "lock": "nightly-report", "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct Release {
    pub lock: Id,
    pub lease_id: Id,
}

/// A lease that was given back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lock": "nightly-report",
    "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "released": true
}))]
pub struct Released {
    pub lock: Id,
    pub lease_id: String,
    pub released: bool,
}

impl Operation for Release {
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

impl Command for Release {
    type Operation = Release;
    type Output = Released;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Release, Problem> {
        Ok(self)
    }

    fn answer(
        _: &Release,
        result: Result<Completed<Released>, store::Error>,
    ) -> api::Result<Released> {
        Ok(Answer::ok(result?))
    }
}

/// Release a lock
///
/// Only by the lease that holds it. A repeat within a minute is answered the same.
#[utoipa::path(
    post,
    path = "/locks/release",
    operation_id = Release::NAME,
    tag = "locks",
    request_body = Release,
    responses((status = OK, body = Released, description = "The lock is free.")),
)]
pub async fn release(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Release>,
) -> api::Result<Released> {
    request.run(&store, &context).await
}
