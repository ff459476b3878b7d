//! `POST /counters/batch`: changes several counters in one step, together or each for itself.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Changed, bind_counter, reject_reserved};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id, codes, enum_from_str, objects},
};

/// The most operations of one batch.
const MAX_OPERATIONS: usize = 128;

/// Changes several counters in one step.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "operations": [
        { "counter": "visits", "action": "incr", "value": 1 },
        { "counter": "seats-left", "action": "decr", "value": 2 }
    ]
}))]
pub struct CounterBatch {
    /// Changes to apply, 1 to 128. They are applied in this order, and a later one sees the result of
    /// an earlier one.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 128)]
    pub operations: Vec<CounterChange>,
    /// With `true` one refused operation refuses the whole call; with `false` the other operations are
    /// applied all the same.
    #[serde(default = "CounterBatch::default_atomic")]
    #[schema(default = true)]
    pub atomic: bool,
}

/// One change of one counter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CounterChange {
    /// Name of the counter. A counter exists from its first change on.
    pub counter: Id,
    /// Kind of change.
    #[serde(deserialize_with = "enum_from_str")]
    pub action: Action,
    /// For `incr` and `decr` the step, at least 1; for `set` the new value.
    pub value: Count,
}

/// A kind of change. `incr` adds the value, `decr` subtracts it but not below 0, and `set` replaces
/// the counter by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    /// The value is added.
    Incr,
    /// The value is subtracted; the change is refused if the counter would fall below 0.
    Decr,
    /// The counter gets the value.
    Set,
}

/// The results of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "results": [
        { "counter": "visits", "value": 42, "previous": 41, "applied": 1 },
        { "counter": "seats-left", "value": 48, "previous": 50, "applied": -2 }
    ]
}))]
pub struct CounterBatchResults {
    /// One result for each operation, in the order of the operations.
    results: Vec<CounterBatchResult>,
}

/// The result of one operation: the changed counter, or why the change was refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CounterBatchResult {
    /// The change was applied.
    Changed(Changed),
    /// The change was refused, and the counter is as it was. Only a batch with `atomic: false` has
    /// such a result.
    Refused {
        /// Name of the counter.
        counter: Id,
        /// Problem code of the refusal; `GET /problems/{code}` explains it.
        #[schema(value_type = String, example = "counter_below_minimum")]
        code: &'static str,
        /// Title of the problem code.
        #[schema(value_type = String, example = "Minimum of the counter")]
        title: &'static str,
    },
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct CounterBatchReply {
    results: Vec<CounterChangeReply>,
}

/// One element of the reply: `value` and `previous` of an applied change, or the `code` of a refusal.
#[derive(Debug, Deserialize)]
struct CounterChangeReply {
    counter: Id,
    value: Option<i64>,
    previous: Option<i64>,
    code: Option<String>,
}

impl CounterChangeReply {
    fn into_result(self) -> CounterBatchResult {
        let CounterChangeReply { counter, value, previous, code } = self;
        match (value, previous) {
            (Some(value), Some(previous)) => {
                let applied = value - previous;
                CounterBatchResult::Changed(Changed { counter, value, previous, applied })
            }
            _ => {
                let name = code.unwrap_or_default();
                let known = CODES.iter().chain(codes::CODES).find(|known| known.code == name);
                let Code { code, title, .. } = *known.unwrap_or(&codes::INTERNAL_ERROR);
                CounterBatchResult::Refused { counter, code, title }
            }
        }
    }
}

impl CounterBatch {
    fn default_atomic() -> bool {
        true
    }
}

impl Operation for CounterBatch {
    const NAME: &'static str = "counters/batch";
    const CODES: &'static [Code] = CODES;
    type Reply = CounterBatchReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("atomic", self.atomic);
        for CounterChange { counter, action, value } in &self.operations {
            bind_counter(invocation, counter)
                .arg("counter_name", counter)
                .arg("action", action)
                .arg("value", value);
        }
    }
}

impl Command for CounterBatch {
    type Operation = CounterBatch;
    type Output = CounterBatchResults;

    async fn prepare(self, _: &Store, _: &Context) -> Result<CounterBatch, Problem> {
        if !(1..=MAX_OPERATIONS).contains(&self.operations.len()) {
            return Err(Problem::validation("/operations", "There are 1 to 128 operations."));
        }
        let mut operations = Vec::with_capacity(self.operations.len());
        for (index, change) in self.operations.into_iter().enumerate() {
            if change.action != Action::Set && change.value < Count::of(1) {
                let pointer = format!("/operations/{index}/value");
                return Err(Problem::validation(&pointer, "A step is at least 1."));
            }
            let pointer = format!("/operations/{index}/counter");
            let counter = reject_reserved(change.counter, &pointer)?;
            operations.push(CounterChange { counter, ..change });
        }
        Ok(CounterBatch { operations, ..self })
    }

    fn answer(
        _: &CounterBatch,
        result: Result<Completed<CounterBatchReply>, store::Error>,
    ) -> api::Result<CounterBatchResults> {
        Ok(Answer::ok(result?.map(|reply| CounterBatchResults {
            results: reply.results.into_iter().map(CounterChangeReply::into_result).collect(),
        })))
    }
}

/// Change several counters
///
/// All changes are applied or none is: if one is refused, the problem's `operation_index` says which,
/// counted from 0. With `atomic: false` each change is applied or refused on its own, and the results
/// say which of the two happened.
#[utoipa::path(
    post,
    path = "/counters/batch",
    operation_id = CounterBatch::NAME,
    tag = "counters",
    request_body = CounterBatch,
    responses((status = OK, body = CounterBatchResults, description = "One result for each change.")),
)]
pub async fn batch(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<CounterBatch>,
) -> api::Result<CounterBatchResults> {
    request.run(&store, &context).await
}
