use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Description, HOLDS, Transaction};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Amount, Code, Id, Money, Text},
};

/// A transaction to move back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa", "amount": "1.00", "description": "cold soup"
}))]
pub struct Reverse {
    pub transaction_id: Id,
    /// All that has not been moved back yet, where nothing is said.
    pub amount: Option<Amount>,
    pub description: Option<Description>,
}

/// A transaction that has been moved back, whole or in part.
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
        "metadata": {}
    }
}))]
pub struct Reversed {
    /// The new transaction.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// The balance right after of the account that paid back; null for the world outside.
    pub from_balance: Option<Money>,
    /// The balance right after of the account that was paid back; null for the world outside.
    pub to_balance: Option<Money>,
    /// The transaction that it moves back, right after.
    pub original: Transaction,
}

/// What the script tells: the same, one within the other.
#[derive(Debug, Deserialize)]
pub struct ReversedReply {
    transaction: Transaction,
    original: Transaction,
    from_balance: Option<Money>,
    to_balance: Option<Money>,
}

pub struct Reversing {
    request: Reverse,
    /// Its accounts never change, so they may be asked for before. One that is not there is no error
    /// yet: the command may have been sent before, under an idempotency key that remembers more.
    original: Option<Transaction>,
}

impl Operation for Reversing {
    const NAME: &'static str = "accounts/reverse";
    const CODES: &'static [Code] = CODES;
    type Reply = ReversedReply;

    fn bind(&self, invocation: &mut Invocation) {
        let Reverse { transaction_id, amount, description } = &self.request;
        let reversal_id = GeneratedId::new("tx_");
        invocation
            .key("transaction_key", "transaction", transaction_id)
            .generated_key("reversal_key", "transaction", reversal_id)
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
            .arg("amount", Amount::digits_or_nothing(*amount))
            .arg("decimals", amount.map_or(0, Amount::decimals))
            .arg("description", Text::json(description.as_ref()))
            .generated_id("reversal_id", reversal_id);
    }
}

impl Command for Reverse {
    type Operation = Reversing;
    type Output = Reversed;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Reversing, Problem> {
        let original = Transaction::find(&self.transaction_id, store, context).await?;
        Ok(Reversing { request: self, original })
    }

    fn answer(
        _: &Reversing,
        result: Result<Completed<ReversedReply>, store::Error>,
    ) -> api::Result<Reversed> {
        Ok(Answer::created(result?.map(|reply| {
            let ReversedReply { transaction, original, from_balance, to_balance } = reply;
            Reversed { transaction, original, from_balance, to_balance }
        })))
    }
}

/// Reverse a transaction
///
/// Moves its money back, whole or in part. Reversals of one transaction add up to its amount at
/// most. Who was paid pays back, so it has to have the money, and neither account may be frozen
/// against it or closed. A reversal is not reversed itself.
#[utoipa::path(
    post,
    path = "/accounts/reverse",
    operation_id = Reversing::NAME,
    tag = "accounts",
    request_body = Reverse,
    responses((status = CREATED, body = Reversed, description = "The money has moved back.")),
)]
pub async fn reverse(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Reverse>,
) -> api::Result<Reversed> {
    request.run(&store, &context).await
}
