use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CODES;
use crate::{
    api::{self, Answer, Caller, Path, Problem},
    store::{self, Context, Invocation, Operation, Store},
    types::{Code, Currency, Id, Metadata, Money, Timestamp},
};

struct GetTransaction(Id);

/// Money that has moved from one account to another.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "kind": "transfer",
    "status": "partially_reversed",
    "from_account": "alice",
    "to_account": "bob",
    "amount": "2.50",
    "reversed": "1.00",
    "currency": "USD",
    "hold_id": null,
    "reverses": null,
    "created_at": "2026-01-31T12:00:00.000Z",
    "description": "lunch",
    "metadata": {}
}))]
pub struct Transaction {
    /// Minted by the service.
    pub transaction_id: String,
    /// Which command moved it.
    pub kind: TransactionKind,
    /// Whether any of it has been moved back.
    pub status: TransactionStatus,
    /// Who gave; `external` for the world outside.
    pub from_account: Id,
    /// Who was given; `external` for the world outside.
    pub to_account: Id,
    /// What moved.
    pub amount: Money,
    /// How much of it has been moved back.
    pub reversed: Money,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// The hold that was captured.
    pub hold_id: Option<String>,
    /// The transaction that this one moves back.
    pub reverses: Option<String>,
    /// When, on Redis' clock.
    pub created_at: Timestamp,
    pub description: Option<String>,
    pub metadata: Metadata,
}

/// Which command moved money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransactionKind {
    /// `POST /accounts/transfer`.
    Transfer,
    /// `POST /accounts/deposit`, or the initial balance of a new account.
    Deposit,
    /// `POST /accounts/withdraw`.
    Withdrawal,
    /// `POST /accounts/capture`.
    Capture,
    /// `POST /accounts/reverse`.
    Reversal,
    /// `POST /accounts/close` with `sweep_to`.
    Sweep,
}

/// How a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// The money has moved.
    Completed,
    /// Some of it has been moved back.
    PartiallyReversed,
    /// All of it has been moved back.
    Reversed,
}

#[derive(Debug, Deserialize)]
struct TransactionReply {
    transaction: Transaction,
}

impl Operation for GetTransaction {
    const NAME: &'static str = "accounts/get_transaction";
    const CODES: &'static [Code] = CODES;
    type Reply = TransactionReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("transaction_key", "transaction", &self.0).arg("transaction_id", &self.0);
    }
}

impl Transaction {
    /// The transaction that a command names, if there is one.
    pub(super) async fn find(
        id: &Id,
        store: &Store,
        context: &Context,
    ) -> Result<Option<Transaction>, Problem> {
        match store.run(&GetTransaction(id.clone()), context).await {
            Ok(done) => Ok(Some(done.reply.transaction)),
            Err(store::Error::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Get a transaction
///
/// By its id, for 90 days where the service's configuration says nothing else.
#[utoipa::path(
    get,
    path = "/accounts/transactions/{transaction_id}",
    operation_id = GetTransaction::NAME,
    tag = "accounts",
    params(("transaction_id" = Id, Path, example = "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa")),
    responses((status = OK, body = Transaction, description = "The transaction.")),
)]
pub async fn get_transaction(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(transaction_id): Path,
) -> api::Result<Transaction> {
    let done = store.run(&GetTransaction(transaction_id), &context).await?;
    Ok(Answer::ok(done.map(|reply| reply.transaction)))
}
