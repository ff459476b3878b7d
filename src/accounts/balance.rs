use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Currency, Id, Money},
};

struct GetBalance(Id);

/// What an account holds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "account_id": "alice", "currency": "USD", "balance": "97.50", "available": "97.50", "held": "0.00"
}))]
pub struct Balance {
    pub account_id: Id,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// Credits less debits.
    pub balance: Money,
    /// What can be spent.
    pub available: Money,
    /// What is set aside.
    pub held: Money,
}

impl Operation for GetBalance {
    const NAME: &'static str = "accounts/balance";
    const CODES: &'static [Code] = CODES;
    type Reply = Balance;

    fn bind(&self, invocation: &mut Invocation) {
        bind_account(invocation, &self.0)
            .key("holds_key", HOLDS, &self.0)
            .arg("account_id", &self.0);
    }
}

/// Get the balance of an account
///
/// The cheapest question about an account.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/balance",
    operation_id = GetBalance::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path)),
    responses((status = OK, body = Balance, description = "The balance.")),
)]
pub async fn balance(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Balance> {
    Ok(Answer::ok(store.run(&GetBalance(account_id), &context).await?))
}
