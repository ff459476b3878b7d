//! `POST /counters/set`: gives a counter a value, optionally only if it has an expected one now.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Changed, ChangedReply, bind_counter, reject_reserved};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id},
};

/// Gives a counter a new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "counter": "seats-left", "value": 60, "if_value": 48 }))]
pub struct SetCounter {
    /// Name of the counter. A counter exists from its first change on.
    pub counter: Id,
    /// Value that the counter gets.
    pub value: Count,
    /// Value that the counter must have now, or the call is refused. A counter that does not exist
    /// has 0.
    pub if_value: Option<Count>,
}

impl Operation for SetCounter {
    const NAME: &'static str = "counters/set";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter)
            .arg("counter_name", &self.counter)
            .arg("value", self.value)
            .arg("if_value", self.if_value.map_or(String::new(), |value| value.to_string()));
    }
}

impl Command for SetCounter {
    type Operation = SetCounter;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<SetCounter, Problem> {
        Ok(SetCounter { counter: reject_reserved(self.counter, "/counter")?, ..self })
    }

    fn answer(
        _: &SetCounter,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Set a counter
///
/// With `if_value` the call is refused unless the counter has that value now. An existing counter keeps
/// its time to live, and a new one never ends.
#[utoipa::path(
    post,
    path = "/counters/set",
    operation_id = SetCounter::NAME,
    tag = "counters",
    request_body = SetCounter,
    responses((status = OK, body = Changed, description = "The counter has its new value.")),
)]
pub async fn set(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<SetCounter>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
