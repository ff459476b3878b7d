use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Account, CODES, HOLDS, bind_account, transfer::same_account};
use crate::{
    api::{self, Answer, Caller, Command, IfMatch, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Code, Id},
};

/// An account to close.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "sweep_to": "bob" }))]
pub struct Close {
    pub account_id: Id,
    /// The account that gets what is left.
    pub sweep_to: Option<Id>,
}

/// An account that is closed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "account_id": "alice",
    "currency": "USD",
    "balance": "0.00",
    "available": "0.00",
    "held": "0.00",
    "overdraft_limit": "0.00",
    "max_balance": null,
    "status": "closed",
    "frozen": null,
    "metadata": {},
    "version": 9,
    "created_at": "2026-01-31T12:00:00.000Z",
    "sweep_transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct Closed {
    #[serde(flatten)]
    pub account: Account,
    /// The transaction that moved what was left; null where nothing was.
    pub sweep_transaction_id: Option<String>,
}

/// What the script tells: the same, one beside the other.
#[derive(Debug, Deserialize)]
pub struct ClosedReply {
    account: Account,
    transaction_id: Option<String>,
}

/// The same, of one version of the account.
pub struct Closing {
    request: Close,
    expected_version: IfMatch,
}

impl Operation for Closing {
    const NAME: &'static str = "accounts/close";
    const CODES: &'static [Code] = CODES;
    type Reply = ClosedReply;

    fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        let Close { account_id, sweep_to } = &self.request;
        bind_account(invocation, account_id).key("account_log", "postings", account_id).key(
            "holds_key",
            HOLDS,
            account_id,
        );
        if let Some(sweep_to) = sweep_to {
            invocation
                .key("sweep_key", "account", sweep_to)
                .key("sweep_log", "postings", sweep_to)
                .generated_key("transaction_key", "transaction", transaction_id);
        }
        invocation
            .arg("account_id", account_id)
            .arg("expected_version", &self.expected_version)
            .generated_id("transaction_id", transaction_id);
        if let Some(sweep_to) = sweep_to {
            invocation.arg("sweep_to", sweep_to);
        }
    }
}

impl Command for Close {
    type Operation = Closing;
    type Output = Closed;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Closing, Problem> {
        if self.sweep_to.as_ref() == Some(&self.account_id) {
            return Err(same_account(&self.account_id));
        }
        Ok(Closing { request: self, expected_version: IfMatch::default() })
    }

    fn answer(
        _: &Closing,
        result: Result<Completed<ClosedReply>, store::Error>,
    ) -> api::Result<Closed> {
        let answer = Answer::ok(result?.map(|reply| Closed {
            account: reply.account,
            sweep_transaction_id: reply.transaction_id,
        }));
        let version = answer.body().account.version;
        Ok(answer.with_version(version))
    }
}

/// Close an account
///
/// For good. It has to have a balance of zero and no open hold; `sweep_to` first moves what is above
/// zero to another account, in the same step. It can still be read, and its id is not given again.
#[utoipa::path(
    post,
    path = "/accounts/close",
    operation_id = Closing::NAME,
    tag = "accounts",
    params(IfMatch),
    request_body = Close,
    responses((status = OK, body = Closed, description = "The account is closed.")),
    extensions(("x-refusals" = json!(["same_account"]))),
)]
pub async fn close(
    State(store): State<Store>,
    Caller(context): Caller,
    expected_version: IfMatch,
    Json(request): Json<Close>,
) -> api::Result<Closed> {
    let operation = Closing { expected_version, ..request.prepare(&store, &context).await? };
    Close::answer(&operation, store.run(&operation, &context).await)
}
