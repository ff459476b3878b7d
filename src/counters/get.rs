//! `GET /counters/{counter}`: reads a counter.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_counter};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Timestamp},
};

/// Reads a counter by its name.
struct GetCounter(Id);

/// A counter as it is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "counter": "downloads", "value": 42, "exists": true, "expires_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Counter {
    /// Name of the counter.
    pub counter: Id,
    /// Current value; 0 if the counter does not exist.
    pub value: i64,
    /// True if the counter exists: it was changed, and has neither ended nor been deleted since.
    pub exists: bool,
    /// Moment at which the counter ends and reads as 0 again, by the clock of Redis; null if it
    /// never ends.
    pub expires_at: Option<Timestamp>,
}

impl Operation for GetCounter {
    const NAME: &'static str = "counters/get";
    const CODES: &'static [Code] = CODES;
    type Reply = Counter;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.0).arg("counter_name", &self.0);
    }
}

/// Get a counter
///
/// A counter needs no declaration: one that was never changed reads as 0 with `exists: false`.
#[utoipa::path(
    get,
    path = "/counters/{counter}",
    operation_id = GetCounter::NAME,
    tag = "counters",
    params(("counter" = Id, Path, description = "Name of the counter.", example = "downloads")),
    responses((status = OK, body = Counter, description = "The counter as it is now.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(counter): Path,
) -> api::Result<Counter> {
    Ok(Answer::ok(store.run(&GetCounter(counter), &context).await?))
}
