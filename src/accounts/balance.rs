//! `GET /accounts/{account_id}/balance`: the balance of an account, and nothing else of it.

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

/// The balance of an account. Amounts are in its currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "account_id": "alice", "currency": "USD", "balance": "97.50", "available": "77.50", "held": "20.00"
}))]
pub struct Balance {
    /// Id of the account.
    pub account_id: Id,
    /// Currency of the account.
    #[schema(value_type = Currency)]
    pub currency: String,
    /// Sum of all credits minus all debits. It is below zero while the account is overdrawn.
    pub balance: Money,
    /// Amount that can be spent now: `balance` minus `held` plus the overdraft limit.
    pub available: Money,
    /// Amount that open holds have set aside.
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
/// Reads less than `GET /accounts/{account_id}` and so is the cheapest way to ask for a balance. Money
/// of holds that have expired counts as available from that millisecond on.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/balance",
    operation_id = GetBalance::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path, description = "Id of the account.")),
    responses((status = OK, body = Balance, description = "The balance of the account.")),
)]
pub async fn balance(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Balance> {
    Ok(Answer::ok(store.run(&GetBalance(account_id), &context).await?))
}
