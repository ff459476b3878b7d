//! `GET /accounts/{account_id}/transactions`: pages through the postings of an account.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CODES, bind_account, get_transaction::TransactionKind};
use crate::{
    api::{self, Answer, Caller, LogPage, LogRange, Path, Query},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Metadata, Money, Timestamp},
};

/// The query parameters of the transactions of an account.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryPage {
    /// The most transactions of the page, 1 to 500.
    #[serde(default = "HistoryPage::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 10)]
    pub limit: u64,
    /// The `next_cursor` of the page before. Without it the page begins with the newest transaction.
    pub cursor: Option<String>,
}

impl HistoryPage {
    fn default_limit() -> u64 {
        10
    }
}

/// A transaction as one of its two accounts records it.
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
    /// The id of the transaction, given by the service: `tx_` and 32 hexadecimal digits.
    pub transaction_id: String,
    /// The command that moved the money.
    pub kind: TransactionKind,
    /// `debit` if the money left this account, `credit` if it came to it.
    pub direction: Direction,
    /// The account on the other side; `external` for the outside world.
    pub counterparty: Id,
    /// The money that moved, in the currency of the account; above zero.
    pub amount: Money,
    /// The balance of this account right after, in its currency.
    pub balance_after: Money,
    /// The caller's description of the transaction, 0 to 1,000 characters; null if there is none.
    pub description: Option<String>,
    /// The caller's metadata of the transaction.
    pub metadata: Metadata,
    /// The moment of the transaction, on Redis' clock.
    #[serde(
        rename(deserialize = "created_at_us"),
        deserialize_with = "Timestamp::from_microseconds"
    )]
    pub created_at: Timestamp,
}

/// The direction in which the money of a posting moves: `debit` out of the account, `credit` into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The money leaves the account.
    Debit,
    /// The money comes to the account.
    Credit,
}

struct ListTransactions {
    account_id: Id,
    range: LogRange,
}

#[derive(Debug, Deserialize)]
struct ListTransactionsReply {
    /// The number of the last one of `transactions`.
    newest: u64,
    /// The postings of the page, the oldest first.
    transactions: Vec<Posting>,
    /// The oldest posting that is kept; `None` where there is none.
    oldest: Option<Posting>,
    /// The number of postings that are not kept any more.
    trimmed: u64,
    account_created_at: Timestamp,
}

/// A page of the transactions of an account, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transactions {
    /// The transactions of this page, the newest first.
    pub transactions: Vec<Posting>,
    /// True if the history reaches back to the opening of the account. An account keeps its newest
    /// transactions, 10,000 at least where the service's configuration says nothing else.
    #[schema(example = true)]
    pub history_complete: bool,
    /// The moment with which the history begins: that of the opening of the account, or that of the
    /// oldest transaction that is still kept.
    pub history_begins_at: Timestamp,
    /// The `cursor` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "41")]
    pub next_cursor: Option<String>,
}

impl Operation for ListTransactions {
    const NAME: &'static str = "accounts/transactions";
    const CODES: &'static [Code] = CODES;
    type Reply = ListTransactionsReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_account(invocation, &self.account_id)
            .key("account_log", "postings", &self.account_id)
            .arg("account_id", &self.account_id);
        self.range.bind(invocation);
    }
}

impl ListTransactionsReply {
    fn into_page(self, range: &LogRange) -> Transactions {
        let LogPage { entries, next_cursor } = LogPage::new(range, self.newest, self.transactions);
        let oldest = self.oldest.filter(|_| self.trimmed > 0);
        Transactions {
            transactions: entries,
            history_complete: self.trimmed == 0,
            history_begins_at: oldest.map_or(self.account_created_at, |oldest| oldest.created_at),
            next_cursor,
        }
    }
}

/// List the transactions of an account
///
/// Answers a page of them, the newest first. Pages neither repeat nor miss a transaction while new
/// ones arrive. The answer says with which moment the history that is kept begins.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/transactions",
    operation_id = ListTransactions::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path, description = "The id of the account."), HistoryPage),
    responses((status = OK, body = Transactions, description = "The page of transactions.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn transactions(
    State(store): State<Store>,
    Query(page): Query<HistoryPage>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Transactions> {
    let range = LogRange::new(page.limit, page.cursor.as_deref())?;
    let history = ListTransactions { account_id, range };
    let completed = store.run(&history, &context).await?;
    Ok(Answer::ok(completed.map(|reply| reply.into_page(&history.range))))
}
