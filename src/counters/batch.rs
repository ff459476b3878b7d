use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Changed, bind_counter, checked};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id, Invalid, codes, enum_from_str, objects},
};

/// The most operations of one batch.
const MAX_OPERATIONS: usize = 128;

/// Counters to change in one step.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CounterBatch, example = json!({
    "operations": [
        { "counter": "visits", "action": "incr", "value": 1 },
        { "counter": "seats-left", "action": "decr", "value": 2 }
    ]
}))]
pub struct Batch {
    /// In their order; a later one sees what an earlier one did.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 128)]
    pub operations: Vec<Line>,
    /// Whether one refusal is a refusal of all; with false, each is for itself.
    #[serde(default = "Batch::default_atomic")]
    #[schema(default = true)]
    pub atomic: bool,
}

/// One change of one counter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CounterChange)]
pub struct Line {
    pub counter: Id,
    #[serde(deserialize_with = "enum_from_str")]
    pub action: Action,
    /// How far, at least 1; or the new value.
    pub value: Count,
}

/// What is done to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    /// It goes up.
    Incr,
    /// It goes down, not below 0.
    Decr,
    /// It is given a value.
    Set,
}

/// What has become of each.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CounterBatchResults, example = json!({
    "results": [
        { "counter": "visits", "value": 42, "previous": 41, "applied": 1 },
        { "counter": "seats-left", "value": 48, "previous": 50, "applied": -2 }
    ]
}))]
pub struct Results {
    /// One for each operation, in their order.
    results: Vec<Outcome>,
}

/// What has become of one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CounterBatchResult)]
pub enum Outcome {
    /// It has happened.
    Changed(Changed),
    /// It was refused; only where each is for itself.
    Refused {
        /// The counter.
        counter: Id,
        /// The code of the problem.
        #[schema(value_type = String, example = "counter_below_minimum")]
        code: &'static str,
        /// Its title.
        #[schema(value_type = String, example = "Minimum of the counter")]
        title: &'static str,
    },
}

/// What the script tells.
#[derive(Debug, Deserialize)]
pub struct BatchReply {
    results: Vec<OutcomeReply>,
}

#[derive(Debug, Deserialize)]
struct OutcomeReply {
    counter: Id,
    value: Option<i64>,
    previous: Option<i64>,
    code: Option<String>,
}

impl OutcomeReply {
    fn into_outcome(self) -> Outcome {
        let OutcomeReply { counter, value, previous, code } = self;
        match (value, previous) {
            (Some(value), Some(previous)) => {
                Outcome::Changed(Changed { counter, value, previous, applied: value - previous })
            }
            _ => {
                let word = code.unwrap_or_default();
                let known = CODES.iter().chain(codes::CODES).find(|known| known.code == word);
                let Code { code, title, .. } = *known.unwrap_or(&codes::INTERNAL_ERROR);
                Outcome::Refused { counter, code, title }
            }
        }
    }
}

impl Batch {
    fn default_atomic() -> bool {
        true
    }
}

impl Operation for Batch {
    const NAME: &'static str = "counters/batch";
    const CODES: &'static [Code] = CODES;
    type Reply = BatchReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("atomic", self.atomic);
        for Line { counter, action, value } in &self.operations {
            bind_counter(invocation, counter)
                .arg("counter_name", counter)
                .arg("action", action)
                .arg("value", value);
        }
    }
}

impl Command for Batch {
    type Operation = Batch;
    type Output = Results;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Batch, Problem> {
        let refuse = |detail, pointer: &str| {
            Err(Problem::invalid(&Invalid::new("validation_failed", detail), pointer))
        };
        if !(1..=MAX_OPERATIONS).contains(&self.operations.len()) {
            return refuse("There are 1 to 128 operations.", "/operations");
        }
        let mut operations = Vec::with_capacity(self.operations.len());
        for (index, line) in self.operations.into_iter().enumerate() {
            if line.action != Action::Set && line.value < Count::of(1) {
                return refuse("A step is at least 1.", &format!("/operations/{index}/value"));
            }
            let counter = checked(line.counter, &format!("/operations/{index}/counter"))?;
            operations.push(Line { counter, ..line });
        }
        Ok(Batch { operations, ..self })
    }

    fn answer(
        _: &Batch,
        result: Result<Completed<BatchReply>, store::Error>,
    ) -> api::Result<Results> {
        Ok(Answer::ok(result?.map(|reply| Results {
            results: reply.results.into_iter().map(OutcomeReply::into_outcome).collect(),
        })))
    }
}

/// Change several counters
///
/// All of them or none: the refusal's `operation_index` says which one it was. With `atomic: false`
/// each is for itself, and its result says what has become of it.
#[utoipa::path(
    post,
    path = "/counters/batch",
    operation_id = Batch::NAME,
    tag = "counters",
    request_body = Batch,
    responses((status = OK, body = Results, description = "What has become of each.")),
)]
pub async fn batch(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Batch>,
) -> api::Result<Results> {
    request.run(&store, &context).await
}
