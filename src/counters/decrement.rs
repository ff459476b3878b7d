use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Change, Changed, ChangedReply, OnBound, TtlMode};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id, Ttl, enum_from_str},
};

/// A counter that goes down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "counter": "seats-left", "by": 2, "initial": 50 }))]
pub struct Decrement {
    pub counter: Id,
    /// How far.
    #[serde(default = "Decrement::default_by")]
    #[schema(minimum = 1, default = 1)]
    pub by: Count,
    /// How far down it may go.
    #[serde(default)]
    #[schema(default = 0)]
    pub min: Count,
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
pub struct Decrementing(Change);

impl Decrement {
    fn default_by() -> Count {
        Count::of(1)
    }
}

impl Operation for Decrementing {
    const NAME: &'static str = "counters/decrement";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind("min", invocation);
    }
}

impl Command for Decrement {
    type Operation = Decrementing;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Decrementing, Problem> {
        let Decrement { counter, by, min, initial, ttl_ms, ttl_mode, on_bound } = self;
        let bound = Some(min);
        let change = Change { counter, by, bound, initial, ttl_ms, ttl_mode, on_bound };
        change.check().map(Decrementing)
    }

    fn answer(
        _: &Decrementing,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Count down
///
/// Whole or not at all; with `on_bound` `saturate` as far as `min`. `applied` says how far it went, and
/// is below zero. Where nothing is applied nothing is written.
#[utoipa::path(
    post,
    path = "/counters/decrement",
    operation_id = Decrementing::NAME,
    tag = "counters",
    request_body = Decrement,
    responses((status = OK, body = Changed, description = "The counter has moved, as far as it may.")),
)]
pub async fn decrement(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Decrement>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
