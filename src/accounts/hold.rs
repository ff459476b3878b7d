//! `POST /accounts/hold`: sets money of an account aside for another account.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Description, HOLDS, Hold, HoldReply, check_two_accounts};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Amount, Code, Id, Metadata, Text, Ttl},
};

/// Money to set aside in one account for another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "from_account": "alice",
    "to_account": "hotel",
    "amount": "120.00",
    "ttl_ms": 604_800_000,
    "description": "two nights",
    "metadata": { "booking": "8812" }
}))]
pub struct PlaceHold {
    /// Account that the money stays in.
    pub from_account: Id,
    /// Account that captures will pay: another account of the same currency.
    pub to_account: Id,
    /// Amount to set aside, in the currency of the accounts: above zero, with at most as many decimals
    /// as the currency has.
    pub amount: Amount,
    /// Time from now until the hold expires, in milliseconds: 1 to 2,592,000,000 (30 days).
    pub ttl_ms: Ttl,
    /// The caller's explanation, kept with the hold and its captures: at most 1,000 characters.
    #[schema(value_type = Option<String>, max_length = 1000)]
    pub description: Option<Description>,
    /// Entries to keep with the hold and its captures: at most 50, and 8 KiB in all.
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
        check_two_accounts(&self.from_account, &self.to_account)?;
        Ok(self)
    }

    fn answer(
        _: &PlaceHold,
        result: Result<Completed<HoldReply>, store::Error>,
    ) -> api::Result<Hold> {
        let answer = Answer::created(result?.map(HoldReply::into_hold));
        Ok(answer.with_location(|hold| format!("/accounts/holds/{}", hold.hold_id)))
    }
}

/// Place a hold
///
/// Sets money of an account aside, so that it can no longer be spent, until it is captured for the
/// other account, released, or `ttl_ms` has passed. The hold is refused for every reason for which a
/// transfer of the same amount would be refused now.
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
