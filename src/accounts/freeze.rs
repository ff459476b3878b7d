use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, Frozen, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Call, Operation, Store},
    types::{Code, Id},
};

/// An account to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct Freeze {
    pub account_id: Id,
    #[serde(default)]
    #[schema(default = "both")]
    pub direction: Frozen,
}

impl Operation for Freeze {
    const NAME: &'static str = "accounts/freeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, call: &mut Call) {
        bind_account(call, &self.account_id)
            .key("holds_key", HOLDS, &self.account_id)
            .arg("account_id", &self.account_id)
            .arg("direction", self.direction);
    }
}

/// Freeze an account
///
/// Stops money from leaving it, from coming in, or both. What is frozen already stays so. Holds stay
/// as they are: they cannot be captured while the freeze is in the way, but they can be released,
/// and their time goes on.
#[utoipa::path(
    post,
    path = "/accounts/freeze",
    operation_id = Freeze::NAME,
    tag = "accounts",
    request_body = Freeze,
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn freeze(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<Freeze>,
) -> api::Result<Account> {
    Ok(AccountReply::answer(store.run(&order, &context).await?, Answer::ok))
}
