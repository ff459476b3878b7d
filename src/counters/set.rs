use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Changed, ChangedReply, bind_counter, checked};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id},
};

/// A counter and its new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetCounter, example = json!({ "counter": "seats-left", "value": 60, "if_value": 48 }))]
pub struct Set {
    pub counter: Id,
    pub value: Count,
    /// Refuse if it has another one; a counter that is not there has 0.
    pub if_value: Option<Count>,
}

impl Operation for Set {
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

impl Command for Set {
    type Operation = Set;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Set, Problem> {
        Ok(Set { counter: checked(self.counter, "/counter")?, ..self })
    }

    fn answer(
        _: &Set,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Set a counter
///
/// With `if_value` only if it has that value. Its time to live stays; a new counter has no end.
#[utoipa::path(
    post,
    path = "/counters/set",
    operation_id = Set::NAME,
    tag = "counters",
    request_body = Set,
    responses((status = OK, body = Changed, description = "The counter has its new value.")),
)]
pub async fn set(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Set>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
