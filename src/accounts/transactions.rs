use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CODES, bind_account, get_transaction::TransactionKind};
use crate::{
    api::{self, Answer, Caller, Path, Query},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Metadata, Money, Timestamp},
};

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryPage {
    /// The most transactions to answer.
    #[serde(default = "HistoryPage::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 10)]
    pub limit: u64,
    /// The `next_cursor` of the page before; without it, the newest transactions.
    pub cursor: Option<String>,
}

impl HistoryPage {
    fn default_limit() -> u64 {
        10
    }
}

/// A transaction, as one of its two accounts sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "kind": "transfer",
    "direction": "debit",
    "counterparty": "bob",
    "amount": "2.50",
    "balance_after": "97.50",
    "description": "lunch",
    "metadata": {},
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Posting {
    /// Minted by the service.
    pub transaction_id: String,
    /// Which command moved it.
    pub kind: TransactionKind,
    /// Whether it took or gave.
    pub direction: Direction,
    /// The account on the other side; `external` for the world outside.
    pub counterparty: Id,
    /// What moved.
    pub amount: Money,
    /// The balance of this account right after.
    pub balance_after: Money,
    /// The caller's words.
    pub description: Option<String>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// When, on Redis' clock.
    #[serde(
        rename(deserialize = "created_at_us"),
        deserialize_with = "Timestamp::from_microseconds"
    )]
    pub created_at: Timestamp,
}

/// Which way a posting goes, seen from an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It takes from the account.
    Debit,
    /// It gives to the account.
    Credit,
}

struct History {
    account_id: Id,
    newest: Option<u64>,
    /// One more than the page has, to see whether there is more.
    limit: u64,
}

/// What the script answers: the postings in their order, and the number of the newest of them.
#[derive(Debug, Deserialize)]
struct Postings {
    newest: u64,
    transactions: Vec<Posting>,
    oldest: Option<Posting>,
    trimmed: u64,
    account_created_at: Timestamp,
}

/// Transactions of an account, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transactions {
    pub transactions: Vec<Posting>,
    /// Whether the history of the account reaches back to its opening. An account keeps its newest
    /// transactions, 10,000 at least where the service's configuration says nothing else.
    #[schema(example = true)]
    pub history_complete: bool,
    /// Where the history of the account begins: with its opening, or with the oldest transaction
    /// that is still kept.
    pub history_begins_at: Timestamp,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "41")]
    pub next_cursor: Option<String>,
}

impl Operation for History {
    const NAME: &'static str = "accounts/transactions";
    const CODES: &'static [Code] = CODES;
    type Reply = Postings;

    fn bind(&self, invocation: &mut Invocation) {
        bind_account(invocation, &self.account_id)
            .key("account_log", "postings", &self.account_id)
            .arg("account_id", &self.account_id)
            .arg("newest", self.newest.map_or(String::new(), |newest| newest.to_string()))
            .arg("limit", self.limit);
    }
}

/// List the transactions of an account
///
/// Newest first. Pages neither repeat nor miss a transaction while new ones arrive. The answer says
/// where the history that is kept begins.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/transactions",
    operation_id = History::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path), HistoryPage),
    responses((status = OK, body = Transactions, description = "One page.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn transactions(
    State(store): State<Store>,
    Query(page): Query<HistoryPage>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Transactions> {
    api::page_limit(page.limit)?;
    let newest = api::number_cursor(page.cursor.as_deref())?;
    let history = History { account_id, newest, limit: page.limit + 1 };
    let done = store.run(&history, &context).await?;
    Ok(Answer::ok(done.map(|postings| postings.into_page(page.limit))))
}

impl Postings {
    fn into_page(mut self, limit: u64) -> Transactions {
        self.transactions.reverse();
        let more = self.transactions.len() as u64 > limit;
        if more {
            self.transactions.pop();
        }
        let oldest = self.oldest.filter(|_| self.trimmed > 0);
        Transactions {
            transactions: self.transactions,
            history_complete: self.trimmed == 0,
            history_begins_at: oldest.map_or(self.account_created_at, |oldest| oldest.created_at),
            next_cursor: more.then(|| (self.newest - limit).to_string()),
        }
    }
}
