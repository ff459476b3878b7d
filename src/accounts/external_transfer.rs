use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Description, HOLDS, TransactionStatus, bind_account};
use crate::{
    store::{GeneratedId, Invocation},
    types::{Amount, Currency, Id, Money, Text, Timestamp},
};

/// Money between an account and the world outside: what a deposit and a withdrawal share.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "amount": "10.00", "description": "card 4242" }))]
pub struct ExternalTransfer {
    pub account_id: Id,
    pub amount: Amount,
    pub description: Option<Description>,
}

/// Money that has come in or gone out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "account_id": "alice",
    "amount": "10.00",
    "currency": "USD",
    "balance": "110.00",
    "available": "110.00",
    "status": "completed",
    "description": "card 4242",
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Receipt {
    pub transaction_id: String,
    pub account_id: Id,
    pub amount: Money,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// The balance right after.
    pub balance: Money,
    /// What can be spent right after.
    pub available: Money,
    pub status: TransactionStatus,
    pub description: Option<String>,
    pub created_at: Timestamp,
}

impl ExternalTransfer {
    pub(super) fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        bind_account(invocation, &self.account_id)
            .key("account_log", "postings", &self.account_id)
            .key("holds_key", HOLDS, &self.account_id)
            .key("external_key", "external", "accounts")
            .generated_key("transaction_key", "transaction", transaction_id)
            .arg("account_id", &self.account_id)
            .arg("amount", self.amount.digits())
            .arg("decimals", self.amount.decimals())
            .arg("description", Text::json(self.description.as_ref()))
            .generated_id("transaction_id", transaction_id);
    }
}
