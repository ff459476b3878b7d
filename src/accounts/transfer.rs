use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Description, HOLDS, TransactionStatus, codes};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Amount, Code, Currency, Id, Metadata, Money, Text, Timestamp},
};

/// Money to move from one account to another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "from_account": "alice", "to_account": "bob", "amount": "2.50", "description": "lunch"
}))]
pub struct Transfer {
    pub from_account: Id,
    pub to_account: Id,
    pub amount: Amount,
    pub description: Option<Description>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// Money that has moved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "from_account": "alice",
    "to_account": "bob",
    "amount": "2.50",
    "currency": "USD",
    "from_balance": "97.50",
    "to_balance": "2.50",
    "status": "completed",
    "description": "lunch",
    "metadata": {},
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Transferred {
    pub transaction_id: String,
    pub from_account: Id,
    pub to_account: Id,
    pub amount: Money,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// The payer's balance right after.
    pub from_balance: Money,
    /// The payee's balance right after.
    pub to_balance: Money,
    pub status: TransactionStatus,
    pub description: Option<String>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
}

impl Operation for Transfer {
    const NAME: &'static str = "accounts/transfer";
    const CODES: &'static [Code] = CODES;
    type Reply = Transferred;

    fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        invocation
            .key("from_key", "account", &self.from_account)
            .key("to_key", "account", &self.to_account)
            .key("from_log", "postings", &self.from_account)
            .key("to_log", "postings", &self.to_account)
            .key("holds_key", HOLDS, &self.from_account)
            .generated_key("transaction_key", "transaction", transaction_id)
            .arg("from_account", &self.from_account)
            .arg("to_account", &self.to_account)
            .arg("amount", self.amount.digits())
            .arg("decimals", self.amount.decimals())
            .arg("description", Text::json(self.description.as_ref()))
            .arg("metadata", &self.metadata)
            .generated_id("transaction_id", transaction_id);
    }
}

/// Money that would go from an account to itself.
pub fn same_account(account_id: &Id) -> Problem {
    Problem::refused(codes::SAME_ACCOUNT, [("account_id", account_id.as_str().into())])
}

impl Command for Transfer {
    type Operation = Transfer;
    type Output = Transferred;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Transfer, Problem> {
        if self.from_account == self.to_account {
            return Err(same_account(&self.to_account));
        }
        Ok(self)
    }

    fn answer(
        _: &Transfer,
        result: Result<Completed<Transferred>, store::Error>,
    ) -> api::Result<Transferred> {
        Ok(Answer::created(result?))
    }
}

/// Transfer money between two accounts
///
/// It moves whole or not at all, and the payer never goes below its overdraft limit.
#[utoipa::path(
    post,
    path = "/accounts/transfer",
    operation_id = Transfer::NAME,
    tag = "accounts",
    request_body = Transfer,
    responses((status = CREATED, body = Transferred, description = "The money has moved.")),
    extensions(("x-refusals" = json!(["same_account"]))),
)]
pub async fn transfer(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Transfer>,
) -> api::Result<Transferred> {
    request.run(&store, &context).await
}
