//! `POST /accounts/reverse`: moves the money of a transaction back.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES, Description, HOLDS, TRANSACTIONS, Transaction, TransactionPlace, transaction_path,
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Amount, Code, Id, Money, Text},
};

/// A transaction to reverse, whole or in part.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "amount": "1.00",
    "description": "cold soup"
}))]
pub struct ReverseTransaction {
    /// Id of the transaction to reverse.
    pub transaction_id: Id,
    /// Amount to move back, in the currency of the transaction: above zero, and at most what has not
    /// been reversed yet. All of that if it is left out.
    pub amount: Option<Amount>,
    /// The caller's explanation, kept with the reversal: at most 1,000 characters.
    #[schema(value_type = Option<String>, max_length = 1000)]
    pub description: Option<Description>,
}

/// The reversal, which is a transaction of its own, and the transaction that it reverses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7b7d029b1f6a3c55e1d0f4",
    "kind": "reversal",
    "status": "completed",
    "from_account": "bob",
    "to_account": "alice",
    "amount": "1.00",
    "reversed": "0.00",
    "currency": "USD",
    "hold_id": null,
    "reverses": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "created_at": "2026-01-31T12:30:00.000Z",
    "description": "cold soup",
    "metadata": {},
    "from_balance": "1.50",
    "to_balance": "98.50",
    "original": {
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
        "metadata": { "invoice": "2026-118" }
    }
}))]
pub struct ReversalReceipt {
    /// The new transaction, of the kind `reversal`.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// Balance right after of the account that has paid back; null if that is `external`.
    pub from_balance: Option<Money>,
    /// Balance right after of the account that has been paid back; null if that is `external`.
    pub to_balance: Option<Money>,
    /// The reversed transaction right after.
    pub original: Transaction,
}

/// The reply of the script, where the new transaction is a field beside the others.
#[derive(Debug, Deserialize)]
pub struct ReversalReply {
    transaction: Transaction,
    original: Transaction,
    from_balance: Option<Money>,
    to_balance: Option<Money>,
}

/// A reversal whose transaction has been looked up, so that the keys of both accounts are known.
pub struct Reversal {
    request: ReverseTransaction,
    /// `None` if it is missing, which is not an error yet: the command may be a repeat whose answer is
    /// kept under its idempotency key, and otherwise its own script refuses it.
    original: Option<Transaction>,
}

impl Operation for Reversal {
    const NAME: &'static str = "accounts/reverse";
    const CODES: &'static [Code] = CODES;
    type Reply = ReversalReply;

    fn bind(&self, invocation: &mut Invocation) {
        let ReverseTransaction { transaction_id, amount, description } = &self.request;
        let reversal_id = GeneratedId::new("tx_");
        let original = TransactionPlace::from(transaction_id);
        let reversal = TransactionPlace::from(reversal_id);
        invocation
            .derived_key("transactions_key", TRANSACTIONS, original.second)
            .derived_key("reversals_key", TRANSACTIONS, reversal.second)
            .key("external_key", "external", "accounts");
        if let Some(Transaction { from_account, to_account, .. }) = &self.original {
            invocation
                .derived_key("from_key", "account", to_account)
                .derived_key("from_log", "postings", to_account)
                .derived_key("from_holds", HOLDS, to_account)
                .derived_key("to_key", "account", from_account)
                .derived_key("to_log", "postings", from_account);
        }
        invocation
            .arg("transaction_id", transaction_id)
            .derived_bytes("transaction_field", &original.field)
            .arg("amount", Amount::digits_or_nothing(*amount))
            .arg("decimals", amount.map_or(0, Amount::decimals))
            .arg("description", Text::json(description.as_ref()))
            .generated_id("reversal_id", reversal_id)
            .derived_bytes("reversal_field", &reversal.field);
    }
}

impl Command for ReverseTransaction {
    type Operation = Reversal;
    type Output = ReversalReceipt;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Reversal, Problem> {
        let original = Transaction::find(&self.transaction_id, store, context).await?;
        Ok(Reversal { request: self, original })
    }

    fn answer(
        _: &Reversal,
        result: Result<Completed<ReversalReply>, store::Error>,
    ) -> api::Result<ReversalReceipt> {
        let answer = Answer::created(result?.map(|reply| {
            let ReversalReply { transaction, original, from_balance, to_balance } = reply;
            ReversalReceipt { transaction, original, from_balance, to_balance }
        }));
        Ok(answer.with_location(|receipt| transaction_path(&receipt.transaction.transaction_id)))
    }
}

/// Reverse a transaction
///
/// Moves the money back, all of it or a part. The reversals of a transaction add up to its amount at
/// most. The account that was paid needs the money, and neither account may be closed, or frozen in
/// that direction. A reversal itself cannot be reversed.
#[utoipa::path(
    post,
    path = "/accounts/reverse",
    operation_id = Reversal::NAME,
    tag = "accounts",
    request_body = ReverseTransaction,
    responses((status = CREATED, body = ReversalReceipt, description = "The money has moved back.")),
)]
pub async fn reverse(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ReverseTransaction>,
) -> api::Result<ReversalReceipt> {
    request.run(&store, &context).await
}
