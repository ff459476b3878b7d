use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Hold, HoldReply, OpenHold};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Ttl},
};

/// A hold that is needed for longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExtendHold, example = json!({
    "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa", "ttl_ms": 604_800_000
}))]
pub struct Extend {
    pub hold_id: Id,
    /// How long from now. It never ends earlier than it would have.
    pub ttl_ms: Ttl,
}

pub struct Extending {
    hold: OpenHold,
    ttl_ms: Ttl,
}

impl Operation for Extending {
    const NAME: &'static str = "accounts/extend";
    const CODES: &'static [Code] = CODES;
    type Reply = HoldReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.hold.bind(invocation).arg("ttl_ms", self.ttl_ms);
    }
}

impl Command for Extend {
    type Operation = Extending;
    type Output = Hold;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Extending, Problem> {
        let Extend { hold_id, ttl_ms } = self;
        Ok(Extending { hold: OpenHold::find(hold_id, store, context).await?, ttl_ms })
    }

    fn answer(
        _: &Extending,
        result: Result<Completed<HoldReply>, store::Error>,
    ) -> api::Result<Hold> {
        Ok(Answer::ok(result?.map(HoldReply::into_hold)))
    }
}

/// Extend a hold
///
/// The money stays set aside for `ttl_ms` from now, or for as long as it is set aside already,
/// whichever is longer.
#[utoipa::path(
    post,
    path = "/accounts/extend",
    operation_id = Extending::NAME,
    tag = "accounts",
    request_body = Extend,
    responses((status = OK, body = Hold, description = "The hold, with its new end.")),
)]
pub async fn extend(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Extend>,
) -> api::Result<Hold> {
    request.run(&store, &context).await
}
