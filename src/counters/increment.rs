use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Change, Changed, ChangedReply, OnBound, TtlMode};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id, Ttl, enum_from_str},
};

/// A counter that goes up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "counter": "coupon-WINTER", "by": 1, "max": 100, "ttl_ms": 86_400_000 }))]
pub struct Increment {
    pub counter: Id,
    /// How far.
    #[serde(default = "Increment::default_by")]
    #[schema(minimum = 1, default = 1)]
    pub by: Count,
    /// How far up it may go; as far as counters go, where nothing is said.
    pub max: Option<Count>,
    /// What a counter that is not there yet counts from.
    #[serde(default)]
    pub initial: Count,
    /// How long it lasts; without it, a new counter has no end.
    pub ttl_ms: Option<Ttl>,
    /// What this makes of the time to live of a counter that is there.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "keep")]
    pub ttl_mode: TtlMode,
    /// What becomes of a change that would pass the bound.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "reject")]
    pub on_bound: OnBound,
}

/// The same, with a step that makes sense.
pub struct Incrementing(Change);

impl Increment {
    fn default_by() -> Count {
        Count::of(1)
    }
}

impl Operation for Incrementing {
    const NAME: &'static str = "counters/increment";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind("max", invocation);
    }
}

impl Command for Increment {
    type Operation = Incrementing;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Incrementing, Problem> {
        let Increment { counter, by, max, initial, ttl_ms, ttl_mode, on_bound } = self;
        let bound = max;
        let change = Change { counter, by, bound, initial, ttl_ms, ttl_mode, on_bound };
        change.check().map(Incrementing)
    }

    fn answer(
        _: &Incrementing,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Count up
///
/// Whole or not at all; with `on_bound` `saturate` as far as `max`. `applied` says how far it went, so
/// what everybody applied adds up to what the counter has. Where nothing is applied nothing is written.
#[utoipa::path(
    post,
    path = "/counters/increment",
    operation_id = Incrementing::NAME,
    tag = "counters",
    request_body = Increment,
    responses((status = OK, body = Changed, description = "The counter has moved, as far as it may.")),
)]
pub async fn increment(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Increment>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
