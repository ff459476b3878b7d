//! `POST /accounts/release`: ends a hold and gives what remains of it back.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Hold, HoldReply, OpenHold};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A hold to release.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa" }))]
pub struct ReleaseHold {
    /// Id of the hold, as `POST /accounts/hold` answered it.
    pub hold_id: Id,
}

/// A release whose hold has been looked up, so that the keys of its account are known.
pub struct HoldRelease(OpenHold);

impl Operation for HoldRelease {
    const NAME: &'static str = "accounts/release";
    const CODES: &'static [Code] = CODES;
    type Reply = HoldReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind(invocation);
    }
}

impl Command for ReleaseHold {
    type Operation = HoldRelease;
    type Output = Hold;

    async fn prepare(self, store: &Store, context: &Context) -> Result<HoldRelease, Problem> {
        Ok(HoldRelease(OpenHold::find(self.hold_id, store, context).await?))
    }

    fn answer(
        _: &HoldRelease,
        result: Result<Completed<HoldReply>, store::Error>,
    ) -> api::Result<Hold> {
        Ok(Answer::ok(result?.map(HoldReply::into_hold)))
    }
}

/// Release a hold
///
/// Ends the hold. What remains of it can be spent again at once.
#[utoipa::path(
    post,
    path = "/accounts/release",
    operation_id = HoldRelease::NAME,
    tag = "accounts",
    request_body = ReleaseHold,
    responses((status = OK, body = Hold, description = "The hold, with nothing set aside any more.")),
)]
pub async fn release(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ReleaseHold>,
) -> api::Result<Hold> {
    request.run(&store, &context).await
}
