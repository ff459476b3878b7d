//! `POST /accounts/close`: closes an account for good, and can move what is left in it first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Account, CODES, HOLDS, TRANSACTIONS, TransactionPlace, bind_account, check_two_accounts,
};
use crate::{
    api::{self, Answer, Caller, Command, Conditional, IfMatch, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Code, Id},
};

/// An account to close.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "sweep_to": "bob" }))]
pub struct CloseAccount {
    /// Id of the account to close.
    pub account_id: Id,
    /// Account that receives the whole balance first: another account of the same currency. Without
    /// it, the balance has to be zero already.
    pub sweep_to: Option<Id>,
}

/// The account after it was closed.
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
    "metadata": { "customer": "1042" },
    "version": 9,
    "created_at": "2026-01-31T12:00:00.000Z",
    "sweep_transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct ClosedAccount {
    /// The account, with the status `closed`.
    #[serde(flatten)]
    pub account: Account,
    /// Id of the transaction that moved the balance to `sweep_to`; null if there was nothing to move.
    pub sweep_transaction_id: Option<String>,
}

/// The reply of the script, where the account is a field beside the id.
#[derive(Debug, Deserialize)]
pub struct CloseReply {
    account: Account,
    transaction_id: Option<String>,
}

impl Operation for Conditional<CloseAccount> {
    const NAME: &'static str = "accounts/close";
    const CODES: &'static [Code] = CODES;
    type Reply = CloseReply;

    fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        let place = TransactionPlace::from(transaction_id);
        let CloseAccount { account_id, sweep_to } = &self.request;
        bind_account(invocation, account_id).key("account_log", "postings", account_id).key(
            "holds_key",
            HOLDS,
            account_id,
        );
        if let Some(sweep_to) = sweep_to {
            invocation
                .key("sweep_key", "account", sweep_to)
                .key("sweep_log", "postings", sweep_to)
                .derived_key("transactions_key", TRANSACTIONS, place.second);
        }
        invocation
            .arg("account_id", account_id)
            .arg("expected_version", &self.if_match)
            .generated_id("transaction_id", transaction_id)
            .derived_bytes("transaction_field", &place.field);
        if let Some(sweep_to) = sweep_to {
            invocation.arg("sweep_to", sweep_to);
        }
    }
}

impl Command for CloseAccount {
    type Operation = Conditional<CloseAccount>;
    type Output = ClosedAccount;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Self::Operation, Problem> {
        if let Some(sweep_to) = &self.sweep_to {
            check_two_accounts(&self.account_id, sweep_to)?;
        }
        Ok(Conditional::on_any_version(self))
    }

    fn answer(
        _: &Self::Operation,
        result: Result<Completed<CloseReply>, store::Error>,
    ) -> api::Result<ClosedAccount> {
        let answer = Answer::ok(result?.map(|reply| ClosedAccount {
            account: reply.account,
            sweep_transaction_id: reply.transaction_id,
        }));
        let version = answer.body().account.version;
        Ok(answer.with_version(version, 0))
    }
}

/// Close an account
///
/// The account needs a balance of zero and no open hold. With `sweep_to`, a balance above zero is
/// moved to that account in the same step. A closed account can be read, but it is never opened
/// again, and neither is another one under its id. With the header `If-Match`, the account is closed
/// only if its version is one of those named there.
#[utoipa::path(
    post,
    path = "/accounts/close",
    operation_id = Conditional::<CloseAccount>::NAME,
    tag = "accounts",
    params(IfMatch),
    request_body = CloseAccount,
    responses((status = OK, body = ClosedAccount, description = "The account is closed.")),
    extensions(("x-refusals" = json!(["same_account"]))),
)]
pub async fn close(
    State(store): State<Store>,
    Caller(context): Caller,
    if_match: IfMatch,
    Json(request): Json<CloseAccount>,
) -> api::Result<ClosedAccount> {
    Conditional::run(request, if_match, &store, &context).await
}
