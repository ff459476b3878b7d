use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS, Posting, bind_account};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Currency, Id, Metadata, Money, Timestamp},
};

struct Get(Id);

/// An account. Amounts are decimal strings in its currency.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "account_id": "alice",
    "currency": "USD",
    "balance": "97.50",
    "available": "97.50",
    "held": "0.00",
    "overdraft_limit": "0.00",
    "max_balance": null,
    "status": "open",
    "frozen": null,
    "metadata": {},
    "version": 2,
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Account {
    /// What the caller calls it.
    pub account_id: Id,
    /// What its amounts are in.
    #[schema(value_type = Currency)]
    pub currency: String,
    /// Credits less debits.
    pub balance: Money,
    /// What can be spent: the balance without what is held, and with the overdraft limit.
    pub available: Money,
    /// What is set aside.
    pub held: Money,
    /// How far below zero the balance may go.
    pub overdraft_limit: Money,
    /// How far up it may go; null for no limit.
    pub max_balance: Option<Money>,
    /// Whether money can move.
    pub status: AccountStatus,
    /// What cannot move, where it is frozen.
    pub frozen: Option<FreezeDirection>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// Counts the changes by calls; also the ETag. A hold that ends by its time gives its money back
    /// without one.
    pub version: u64,
    /// When, on Redis' clock.
    pub created_at: Timestamp,
    /// The five newest transactions, newest first; only where one account is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_transactions: Option<Vec<Posting>>,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// Money comes and goes.
    Open,
    /// It can do so in one direction at most.
    Frozen,
    /// Never again.
    Closed,
}

/// What a freeze stops.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum FreezeDirection {
    /// Money that would leave.
    Debits,
    /// Money that would come in.
    Credits,
    /// All of it.
    #[default]
    Both,
}

/// What a script tells of one account.
#[derive(Debug, Deserialize)]
pub struct AccountReply {
    account: Account,
    recent_transactions: Option<Vec<Posting>>,
}

impl AccountReply {
    /// The account as it is answered, with its version as the ETag.
    pub fn answer(
        done: Completed<AccountReply>,
        answer: fn(Completed<Account>) -> Answer<Account>,
    ) -> Answer<Account> {
        let answer = answer(done.map(|AccountReply { account, recent_transactions }| {
            // Redis keeps the log oldest first.
            let newest = recent_transactions.map(|mut postings| {
                postings.reverse();
                postings
            });
            Account { recent_transactions: newest, ..account }
        }));
        let version = answer.body().version;
        answer.with_version(version)
    }
}

impl Operation for Get {
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
/// With its five newest transactions. The ETag is its version.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}",
    operation_id = Get::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path)),
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Account> {
    Ok(AccountReply::answer(store.run(&Get(account_id), &context).await?, Answer::ok))
}
