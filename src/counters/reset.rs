use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Changed, ChangedReply, bind_counter, checked};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Count, Id},
};

/// A counter to begin anew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResetCounter, example = json!({ "counter": "downloads" }))]
pub struct Reset {
    pub counter: Id,
    /// What it begins with.
    #[serde(default)]
    pub value: Count,
}

impl Operation for Reset {
    const NAME: &'static str = "counters/reset";
    const CODES: &'static [Code] = CODES;
    type Reply = ChangedReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter)
            .arg("counter_name", &self.counter)
            .arg("value", self.value);
    }
}

impl Command for Reset {
    type Operation = Reset;
    type Output = Changed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Reset, Problem> {
        Ok(Reset { counter: checked(self.counter, "/counter")?, ..self })
    }

    fn answer(
        _: &Reset,
        result: Result<Completed<ChangedReply>, store::Error>,
    ) -> api::Result<Changed> {
        Ok(Answer::ok(result?.map(ChangedReply::into_changed)))
    }
}

/// Reset a counter
///
/// `previous` is what it had come to: nobody's step is lost between reading and beginning anew. Its
/// time to live stays.
#[utoipa::path(
    post,
    path = "/counters/reset",
    operation_id = Reset::NAME,
    tag = "counters",
    request_body = Reset,
    responses((status = OK, body = Changed, description = "The counter begins anew.")),
)]
pub async fn reset(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Reset>,
) -> api::Result<Changed> {
    request.run(&store, &context).await
}
