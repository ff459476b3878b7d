use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Description, HOLDS, Hold, HoldReply, transfer::same_account};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Amount, Code, Id, Metadata, Text, Ttl},
};

/// Money to set aside in one account for another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "from_account": "alice", "to_account": "hotel", "amount": "120.00", "ttl_ms": 604_800_000,
    "description": "two nights"
}))]
pub struct PlaceHold {
    pub from_account: Id,
    pub to_account: Id,
    pub amount: Amount,
    /// How long the money is set aside; then it is free again at that millisecond.
    pub ttl_ms: Ttl,
    pub description: Option<Description>,
    #[serde(default)]
    pub metadata: Metadata,
}

impl Operation for PlaceHold {
    const NAME: &'static str = "accounts/hold";
    const CODES: &'static [Code] = CODES;
    type Reply = HoldReply;

    fn bind(&self, invocation: &mut Invocation) {
        let hold_id = GeneratedId::new("hold_");
        invocation
            .key("from_key", "account", &self.from_account)
            .key("to_key", "account", &self.to_account)
            .key("holds_key", HOLDS, &self.from_account)
            .generated_key("hold_key", "hold", hold_id)
            .arg("from_account", &self.from_account)
            .arg("to_account", &self.to_account)
            .arg("amount", self.amount.digits())
            .arg("decimals", self.amount.decimals())
            .arg("ttl_ms", self.ttl_ms)
            .arg("description", Text::json(self.description.as_ref()))
            .arg("metadata", &self.metadata)
            .generated_id("hold_id", hold_id);
    }
}

impl Command for PlaceHold {
    type Operation = PlaceHold;
    type Output = Hold;

    async fn prepare(self, _: &Store, _: &Context) -> Result<PlaceHold, Problem> {
        if self.from_account == self.to_account {
            return Err(same_account(&self.to_account));
        }
        Ok(self)
    }

    fn answer(
        _: &PlaceHold,
        result: Result<Completed<HoldReply>, store::Error>,
    ) -> api::Result<Hold> {
        Ok(Answer::created(result?.map(HoldReply::into_hold)))
    }
}

/// Set money aside
///
/// It stays in its account and cannot be spent, until it is captured for the other account,
/// released, or its time is up. It is refused for what a transfer would be refused for now.
#[utoipa::path(
    post,
    path = "/accounts/hold",
    operation_id = PlaceHold::NAME,
    tag = "accounts",
    request_body = PlaceHold,
    responses((status = CREATED, body = Hold, description = "The money is set aside.")),
    extensions(("x-refusals" = json!(["same_account"]))),
)]
pub async fn hold(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<PlaceHold>,
) -> api::Result<Hold> {
    request.run(&store, &context).await
}
