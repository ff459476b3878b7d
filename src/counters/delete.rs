use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_counter, checked};
use crate::{
    api::{self, Answer, Caller, Command, Path, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A counter to remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    pub counter: Id,
}

/// A counter that is gone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "counter": "downloads", "deleted": true, "previous": 42 }))]
pub struct Deleted {
    pub counter: Id,
    /// Whether it was there.
    pub deleted: bool,
    /// What it had.
    pub previous: i64,
}

impl Operation for Delete {
    const NAME: &'static str = "counters/delete";
    const CODES: &'static [Code] = CODES;
    type Reply = Deleted;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter).arg("counter_name", &self.counter);
    }
}

impl Command for Delete {
    type Operation = Delete;
    type Output = Deleted;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Delete, Problem> {
        Ok(Delete { counter: checked(self.counter, "/counter")? })
    }

    fn answer(
        _: &Delete,
        result: Result<Completed<Deleted>, store::Error>,
    ) -> api::Result<Deleted> {
        Ok(Answer::ok(result?))
    }
}

/// Remove a counter
///
/// It is 0 again, as if nobody had touched it, and its time to live is forgotten.
#[utoipa::path(
    delete,
    path = "/counters/{counter}",
    operation_id = Delete::NAME,
    tag = "counters",
    params(("counter" = Id, Path, example = "downloads")),
    responses((status = OK, body = Deleted, description = "The counter is gone.")),
)]
pub async fn delete(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(counter): Path,
) -> api::Result<Deleted> {
    Delete { counter }.run(&store, &context).await
}
