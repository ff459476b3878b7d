//! `POST /counters/decrement`: subtracts from a counter, not past a lower bound.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{BoundedStep, CODES, Changed, ChangedReply, OnBound, TtlMode};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id, Ttl, enum_from_str},
};

/// Subtracts from a counter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "counter": "seats-left", "by": 2, "initial": 50 }))]
pub struct Decrement {
    /// Name of the counter. A counter exists from its first change on.
    pub counter: Id,
    /// Step to subtract, at least 1.
    #[serde(default = "Decrement::default_by")]
    #[schema(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991_i64, default = 1)]
    pub by: Count,
    /// Lower bound that the new value must not fall below.
    #[serde(default)]
    #[schema(default = 0)]
    pub min: Count,
    /// Value that a counter counts from if it does not exist yet.
    #[serde(default)]
    pub initial: Count,
    /// Time to live in milliseconds, which `ttl_mode` applies. Without it a new counter never ends.
    pub ttl_ms: Option<Ttl>,
    /// Says which counters get `ttl_ms`; any mode but `keep` needs one.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "keep")]
    pub ttl_mode: TtlMode,
    /// Says whether a step that would pass `min` is refused or shortened.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "reject")]
    pub on_bound: OnBound,
}

/// A decrement whose values have been checked.
pub struct CheckedDecrement(BoundedStep);

impl Decrement {
    fn default_by() -> Count {
        Count::of(1)
    }
}

impl Operation for CheckedDecrement {
    const NAME: &'static str = "counters/decrement";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind("min", invocation);
    }
}

impl Command for Decrement {
    type Operation = CheckedDecrement;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<CheckedDecrement, Problem> {
        let Decrement { counter, by, min, initial, ttl_ms, ttl_mode, on_bound } = self;
        let bound = Some(min);
        let step = BoundedStep { counter, by, bound, initial, ttl_ms, ttl_mode, on_bound };
        step.check().map(CheckedDecrement)
    }

    fn answer(
        _: &CheckedDecrement,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Decrement a counter
///
/// The whole step is applied, or it is refused and nothing changes. With `on_bound: saturate` the
/// counter goes down to `min` instead. `applied` is the negative number by which the counter changed.
/// A step of which nothing can be applied writes nothing.
#[utoipa::path(
    post,
    path = "/counters/decrement",
    operation_id = CheckedDecrement::NAME,
    tag = "counters",
    request_body = Decrement,
    responses((status = OK, body = Changed, description = "The step was applied, as far as `min` allows.")),
)]
pub async fn decrement(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Decrement>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
