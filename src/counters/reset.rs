//! `POST /counters/reset`: gives a counter its starting value and answers the value it had.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Changed, ChangedReply, bind_counter, reject_reserved};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id},
};

/// Starts a counter again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "counter": "downloads" }))]
pub struct ResetCounter {
    /// Name of the counter.
    pub counter: Id,
    /// Value that the counter starts again from.
    #[serde(default)]
    pub value: Count,
}

impl Operation for ResetCounter {
    const NAME: &'static str = "counters/reset";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter)
            .arg("counter_name", &self.counter)
            .arg("value", self.value);
    }
}

impl Command for ResetCounter {
    type Operation = ResetCounter;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<ResetCounter, Problem> {
        Ok(ResetCounter { counter: reject_reserved(self.counter, "/counter")?, ..self })
    }

    fn answer(
        _: &ResetCounter,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Reset a counter
///
/// The counter is read and reset in one step, so `previous` includes every change made before. The
/// counter keeps its time to live.
#[utoipa::path(
    post,
    path = "/counters/reset",
    operation_id = ResetCounter::NAME,
    tag = "counters",
    request_body = ResetCounter,
    responses((status = OK, body = Changed, description = "The counter starts again from `value`.")),
)]
pub async fn reset(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ResetCounter>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
