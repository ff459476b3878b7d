//! `POST /counters/increment`: adds to a counter, not past an upper bound.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{BoundedStep, CODES, Changed, ChangedReply, OnBound, TtlMode};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id, Ttl, enum_from_str},
};

/// Adds to a counter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "counter": "coupon-WINTER", "by": 1, "max": 100, "ttl_ms": 86_400_000 }))]
pub struct Increment {
    /// Name of the counter. A counter exists from its first change on.
    pub counter: Id,
    /// Step to add, at least 1.
    #[serde(default = "Increment::default_by")]
    #[schema(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991_i64, default = 1)]
    pub by: Count,
    /// Upper bound that the new value must not exceed. Without it the bound is 2^53 - 1.
    pub max: Option<Count>,
    /// Value that a counter counts from if it does not exist yet.
    #[serde(default)]
    pub initial: Count,
    /// Time to live in milliseconds, which `ttl_mode` applies. Without it a new counter never ends.
    pub ttl_ms: Option<Ttl>,
    /// Says which counters get `ttl_ms`; any mode but `keep` needs one.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "keep")]
    pub ttl_mode: TtlMode,
    /// Says whether a step that would pass `max` is refused or shortened.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "reject")]
    pub on_bound: OnBound,
}

/// An increment whose values have been checked.
pub struct CheckedIncrement(BoundedStep);

impl Increment {
    fn default_by() -> Count {
        Count::of(1)
    }
}

impl Operation for CheckedIncrement {
    const NAME: &'static str = "counters/increment";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind("max", invocation);
    }
}

impl Command for Increment {
    type Operation = CheckedIncrement;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<CheckedIncrement, Problem> {
        let Increment { counter, by, max, initial, ttl_ms, ttl_mode, on_bound } = self;
        let step = BoundedStep { counter, by, bound: max, initial, ttl_ms, ttl_mode, on_bound };
        step.check().map(CheckedIncrement)
    }

    fn answer(
        _: &CheckedIncrement,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Increment a counter
///
/// The whole step is applied, or it is refused and nothing changes. With `on_bound: saturate` the
/// counter goes up to `max` instead, and `applied` says by how much: the `applied` of all calls together
/// are what the counter has moved. A step of which nothing can be applied writes nothing.
#[utoipa::path(
    post,
    path = "/counters/increment",
    operation_id = CheckedIncrement::NAME,
    tag = "counters",
    request_body = Increment,
    responses((status = OK, body = Changed, description = "The step was applied, as far as `max` allows.")),
)]
pub async fn increment(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Increment>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
