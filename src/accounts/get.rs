//! `GET /accounts/{account_id}`, and the account as every other answer of the domain shows it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS, Posting, bind_account};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Currency, Id, Metadata, Money, Timestamp},
};

struct GetAccount(Id);

/// An account. Amounts are in its currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "account_id": "alice",
    "currency": "USD",
    "balance": "97.50",
    "available": "127.50",
    "held": "20.00",
    "overdraft_limit": "50.00",
    "max_balance": "10000.00",
    "status": "open",
    "frozen": null,
    "metadata": { "customer": "1042" },
    "version": 2,
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Account {
    /// Id of the account, chosen by the caller who opened it.
    pub account_id: Id,
    /// Currency of the account. It never changes.
    #[schema(value_type = Currency)]
    pub currency: String,
    /// Sum of all credits minus all debits. It is below zero while the account is overdrawn.
    pub balance: Money,
    /// Amount that can be spent now: `balance` minus `held` plus `overdraft_limit`.
    pub available: Money,
    /// Amount that open holds have set aside.
    pub held: Money,
    /// Amount by which debits and holds may exceed the balance; zero if they may not.
    pub overdraft_limit: Money,
    /// Balance that no credit may exceed; null if there is no limit.
    pub max_balance: Option<Money>,
    /// State of the account.
    pub status: AccountStatus,
    /// Direction that is frozen; null unless `status` is `frozen`.
    pub frozen: Option<FreezeDirection>,
    /// Entries that the caller keeps with the account.
    pub metadata: Metadata,
    /// Number of changes that calls have made, starting at 0; the ETag begins with it. A hold that
    /// expires changes `held`, `available` and the ETag without a new version.
    pub version: u64,
    /// Moment at which the account was opened, by the clock of Redis.
    pub created_at: Timestamp,
    /// The five newest transactions, newest first. Only `GET /accounts/{account_id}` answers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_transactions: Option<Vec<Posting>>,
}

/// State of an account.
///
/// - `open`: money can move in both directions.
/// - `frozen`: debits, credits or both are refused; see `frozen`.
/// - `closed`: the account can be read, and nothing else, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// Money can move in both directions.
    Open,
    /// One direction or both are refused.
    Frozen,
    /// The account can only be read.
    Closed,
}

/// Postings that a freeze refuses.
///
/// - `debits`: money may not leave the account.
/// - `credits`: money may not come in.
/// - `both`: money may neither leave nor come in.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum FreezeDirection {
    /// Money may not leave the account.
    Debits,
    /// Money may not come in.
    Credits,
    /// Money may neither leave nor come in.
    #[default]
    Both,
}

/// The reply of every script that answers one account.
#[derive(Debug, Deserialize)]
pub struct AccountReply {
    account: Account,
    recent_transactions: Option<Vec<Posting>>,
}

impl AccountReply {
    /// Answers the account, with its version as the ETag. `answer` chooses the status:
    /// [`Answer::ok`] or [`Answer::created`].
    pub fn answer(
        completed: Completed<AccountReply>,
        answer: fn(Completed<Account>) -> Answer<Account>,
    ) -> Answer<Account> {
        let answer = answer(completed.map(|AccountReply { account, recent_transactions }| {
            // The log in Redis is oldest first.
            let newest = recent_transactions.map(|mut postings| {
                postings.reverse();
                postings
            });
            Account { recent_transactions: newest, ..account }
        }));
        let (version, held) = (answer.body().version, answer.body().held.clone());
        answer.with_version(version, held)
    }
}

impl Operation for GetAccount {
    const NAME: &'static str = "accounts/get";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_account(invocation, &self.0)
            .key("account_log", "postings", &self.0)
            .key("holds_key", HOLDS, &self.0)
            .arg("account_id", &self.0);
    }
}

/// Get an account
///
/// Answers the account with its five newest transactions. The ETag begins with its version, and changes
/// when the answer does.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}",
    operation_id = GetAccount::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path, description = "Id of the account.")),
    responses((status = OK, body = Account, description = "The account and its newest transactions.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Account> {
    Ok(AccountReply::answer(store.run(&GetAccount(account_id), &context).await?, Answer::ok))
}
