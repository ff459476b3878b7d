//! `DELETE /counters/{counter}`: removes a counter.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_counter, reject_reserved};
use crate::{
    api::{self, Answer, Caller, Command, Path, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// Removes a counter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteCounter {
    /// Name of the counter.
    pub counter: Id,
}

/// The result of a deletion.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "counter": "downloads", "deleted": true, "previous": 42 }))]
pub struct Deleted {
    /// Name of the counter.
    pub counter: Id,
    /// True if the counter existed.
    pub deleted: bool,
    /// Value that the counter had; 0 if it did not exist.
    pub previous: i64,
}

impl Operation for DeleteCounter {
    const NAME: &'static str = "counters/delete";
    const CODES: &'static [Code] = CODES;
    type Reply = Deleted;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter).arg("counter_name", &self.counter);
    }
}

impl Command for DeleteCounter {
    type Operation = DeleteCounter;
    type Output = Deleted;

    async fn prepare(self, _: &Store, _: &Context) -> Result<DeleteCounter, Problem> {
        Ok(DeleteCounter { counter: reject_reserved(self.counter, "/counter")? })
    }

    fn answer(
        _: &DeleteCounter,
        result: Result<Completed<Deleted>, store::Error>,
    ) -> api::Result<Deleted> {
        Ok(Answer::ok(result?))
    }
}

/// Delete a counter
///
/// The counter reads as 0 afterwards, as if it had never been changed. Its time to live is removed too.
#[utoipa::path(
    delete,
    path = "/counters/{counter}",
    operation_id = DeleteCounter::NAME,
    tag = "counters",
    params(("counter" = Id, Path, description = "Name of the counter.", example = "downloads")),
    responses((status = OK, body = Deleted, description = "The counter does not exist any more.")),
)]
pub async fn delete(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(counter): Path,
) -> api::Result<Deleted> {
    DeleteCounter { counter }.run(&store, &context).await
}
