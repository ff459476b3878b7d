use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, Frozen, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Call, Operation, Store},
    types::{Code, Id},
};

/// An account to let go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct Unfreeze {
    pub account_id: Id,
    #[serde(default)]
    #[schema(default = "both")]
    pub direction: Frozen,
}

impl Operation for Unfreeze {
    const NAME: &'static str = "accounts/unfreeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, call: &mut Call) {
        bind_account(call, &self.account_id)
            .key("holds_key", HOLDS, &self.account_id)
            .arg("account_id", &self.account_id)
            .arg("direction", self.direction);
    }
}

/// Unfreeze an account
///
/// Lets money leave it again, come in again, or both.
#[utoipa::path(
    post,
    path = "/accounts/unfreeze",
    operation_id = Unfreeze::NAME,
    tag = "accounts",
    request_body = Unfreeze,
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn unfreeze(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<Unfreeze>,
) -> api::Result<Account> {
    Ok(AccountReply::answer(store.run(&order, &context).await?, Answer::ok))
}
