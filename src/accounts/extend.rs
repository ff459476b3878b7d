//! `POST /accounts/extend`: postpones the moment at which a hold expires.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Hold, HoldReply, OpenHold};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Ttl},
};

/// A hold to keep open for longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa", "ttl_ms": 604_800_000
}))]
pub struct ExtendHold {
    /// Id of the hold, as `POST /accounts/hold` answered it.
    pub hold_id: Id,
    /// Time from now until the hold expires, in milliseconds: 1 to 2,592,000,000 (30 days). A hold
    /// that expires later than that already keeps its `expires_at`.
    pub ttl_ms: Ttl,
}

/// An extension whose hold has been looked up, so that the keys of its account are known.
pub struct HoldExtension {
    hold: OpenHold,
    ttl_ms: Ttl,
}

impl Operation for HoldExtension {
    const NAME: &'static str = "accounts/extend";
    const CODES: &'static [Code] = CODES;
    type Reply = HoldReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.hold.bind(invocation).arg("ttl_ms", self.ttl_ms);
    }
}

impl Command for ExtendHold {
    type Operation = HoldExtension;
    type Output = Hold;

    async fn prepare(self, store: &Store, context: &Context) -> Result<HoldExtension, Problem> {
        let ExtendHold { hold_id, ttl_ms } = self;
        Ok(HoldExtension { hold: OpenHold::find(hold_id, store, context).await?, ttl_ms })
    }

    fn answer(
        _: &HoldExtension,
        result: Result<Completed<HoldReply>, store::Error>,
    ) -> api::Result<Hold> {
        Ok(Answer::ok(result?.map(HoldReply::into_hold)))
    }
}

/// Extend a hold
///
/// The hold expires `ttl_ms` from now, unless it expires later than that already. An extension never
/// shortens a hold.
#[utoipa::path(
    post,
    path = "/accounts/extend",
    operation_id = HoldExtension::NAME,
    tag = "accounts",
    request_body = ExtendHold,
    responses((status = OK, body = Hold, description = "The hold, with its new `expires_at`.")),
)]
pub async fn extend(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ExtendHold>,
) -> api::Result<Hold> {
    request.run(&store, &context).await
}
