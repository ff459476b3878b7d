use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS, Hold, OpenHold, TransactionStatus};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Amount, Code, Currency, Id, Money, Timestamp},
};

/// What to take of a hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa", "amount": "80.00", "final": true
}))]
pub struct Capture {
    pub hold_id: Id,
    /// All that remains, where nothing is said.
    pub amount: Option<Amount>,
    /// Whether what remains after it is released; with false, there may be more captures.
    #[serde(default = "yes", rename = "final")]
    #[schema(default = true)]
    pub is_final: bool,
}

fn yes() -> bool {
    true
}

/// Money that has moved out of a hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "from_account": "alice",
    "to_account": "hotel",
    "amount": "80.00",
    "currency": "USD",
    "from_balance": "20.00",
    "to_balance": "80.00",
    "status": "completed",
    "created_at": "2026-02-02T12:00:00.000Z",
    "hold": {
        "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa",
        "status": "captured",
        "from_account": "alice",
        "to_account": "hotel",
        "currency": "USD",
        "amount": "120.00",
        "captured": "80.00",
        "released": "40.00",
        "expired": "0.00",
        "remaining": "0.00",
        "expires_at": "2026-02-07T12:00:00.000Z",
        "created_at": "2026-01-31T12:00:00.000Z",
        "description": "two nights",
        "metadata": {}
    }
}))]
pub struct Captured {
    pub transaction_id: String,
    pub from_account: Id,
    pub to_account: Id,
    /// What has moved.
    pub amount: Money,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// The payer's balance right after.
    pub from_balance: Money,
    /// The payee's balance right after.
    pub to_balance: Money,
    pub status: TransactionStatus,
    pub created_at: Timestamp,
    /// The hold, right after.
    pub hold: Hold,
}

pub struct Capturing {
    request: Capture,
    hold: OpenHold,
}

impl Operation for Capturing {
    const NAME: &'static str = "accounts/capture";
    const CODES: &'static [Code] = CODES;
    type Reply = Captured;

    fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        invocation.key("hold_key", "hold", &self.hold.hold_id).generated_key(
            "transaction_key",
            "transaction",
            transaction_id,
        );
        if let Some((from, to)) = self.hold.parties() {
            invocation
                .derived_key("from_key", "account", from)
                .derived_key("to_key", "account", to)
                .derived_key("from_log", "postings", from)
                .derived_key("to_log", "postings", to)
                .derived_key("holds_key", HOLDS, from);
        }
        invocation
            .arg("hold_id", &self.hold.hold_id)
            .arg("amount", Amount::digits_or_nothing(self.request.amount))
            .arg("decimals", self.request.amount.map_or(0, Amount::decimals))
            .arg("final", self.request.is_final)
            .generated_id("transaction_id", transaction_id);
    }
}

impl Command for Capture {
    type Operation = Capturing;
    type Output = Captured;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Capturing, Problem> {
        let hold = OpenHold::find(self.hold_id.clone(), store, context).await?;
        Ok(Capturing { request: self, hold })
    }

    fn answer(
        _: &Capturing,
        result: Result<Completed<Captured>, store::Error>,
    ) -> api::Result<Captured> {
        Ok(Answer::created(result?))
    }
}

/// Capture a hold
///
/// Moves all or part of what is set aside. Whatever a final capture leaves is released; with
/// `final: false` there may be several, until the hold is used up or its time is.
#[utoipa::path(
    post,
    path = "/accounts/capture",
    operation_id = Capturing::NAME,
    tag = "accounts",
    request_body = Capture,
    responses((status = CREATED, body = Captured, description = "The money has moved.")),
)]
pub async fn capture(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Capture>,
) -> api::Result<Captured> {
    request.run(&store, &context).await
}
