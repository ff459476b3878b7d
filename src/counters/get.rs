use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_counter};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Timestamp},
};

struct Get(Id);

/// How far a counter has come.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "counter": "downloads", "value": 42, "exists": true, "expires_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Counter {
    pub counter: Id,
    /// 0 where nobody has touched it.
    pub value: i64,
    /// Whether anybody has.
    pub exists: bool,
    /// When it is 0 again; null for never.
    pub expires_at: Option<Timestamp>,
}

impl Operation for Get {
    const NAME: &'static str = "counters/get";
    const CODES: &'static [Code] = CODES;
    type Reply = Counter;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.0).arg("counter_name", &self.0);
    }
}

/// Get a counter
///
/// A counter needs no declaration: one that nobody has touched is 0.
#[utoipa::path(
    get,
    path = "/counters/{counter}",
    operation_id = Get::NAME,
    tag = "counters",
    params(("counter" = Id, Path, example = "downloads")),
    responses((status = OK, body = Counter, description = "The counter.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(counter): Path,
) -> api::Result<Counter> {
    Ok(Answer::ok(store.run(&Get(counter), &context).await?))
}
