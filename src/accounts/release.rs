use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Hold, HoldReply, OpenHold};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A hold to give back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReleaseHold, example = json!({ "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa" }))]
pub struct Release {
    pub hold_id: Id,
}

pub struct Releasing(OpenHold);

impl Operation for Releasing {
    const NAME: &'static str = "accounts/release";
    const CODES: &'static [Code] = CODES;
    type Reply = HoldReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind(invocation);
    }
}

impl Command for Release {
    type Operation = Releasing;
    type Output = Hold;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Releasing, Problem> {
        Ok(Releasing(OpenHold::find(self.hold_id, store, context).await?))
    }

    fn answer(
        _: &Releasing,
        result: Result<Completed<HoldReply>, store::Error>,
    ) -> api::Result<Hold> {
        Ok(Answer::ok(result?.map(HoldReply::into_hold)))
    }
}

/// Release a hold
///
/// What is still set aside can be spent again.
#[utoipa::path(
    post,
    path = "/accounts/release",
    operation_id = Releasing::NAME,
    tag = "accounts",
    request_body = Release,
    responses((status = OK, body = Hold, description = "Nothing is set aside any more.")),
)]
pub async fn release(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Release>,
) -> api::Result<Hold> {
    request.run(&store, &context).await
}
