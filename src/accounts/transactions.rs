use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CODES, Transaction, bind_account};
use crate::{
    api::{self, Answer, Caller, Path, Problem, Query},
    store::{Call, Done, Operation, Store},
    types::{Code, Id, codes},
};

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The most transactions to answer.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 10)]
    pub limit: u64,
    /// The `next_cursor` of the page before; without it, the newest transactions.
    pub cursor: Option<String>,
}

impl Page {
    fn default_limit() -> u64 {
        10
    }
}

struct List {
    account_id: Id,
    newest: Option<u64>,
    /// One more than the page has, to see whether there is more.
    limit: u64,
}

/// What the script answers: the postings in their order, and the number of the newest of them.
#[derive(Debug, Deserialize)]
struct Postings {
    newest: u64,
    transactions: Vec<Transaction>,
}

/// Transactions of an account, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transactions {
    pub transactions: Vec<Transaction>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "41")]
    pub next_cursor: Option<String>,
}

impl Operation for List {
    const NAME: &'static str = "accounts/transactions";
    const CODES: &'static [Code] = CODES;
    type Reply = Postings;

    fn bind(&self, call: &mut Call) {
        bind_account(call, &self.account_id)
            .key("account_log", "postings", &self.account_id)
            .arg("account_id", &self.account_id)
            .arg("newest", self.newest.map_or(String::new(), |newest| newest.to_string()))
            .arg("limit", self.limit);
    }
}

/// List the transactions of an account
///
/// Newest first. Pages neither repeat nor miss a transaction while new ones arrive. At least the
/// newest 10,000 of an account are kept.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/transactions",
    operation_id = List::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path), Page),
    responses((status = OK, body = Transactions, description = "One page.")),
)]
pub async fn transactions(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
    Query(page): Query<Page>,
) -> api::Result<Transactions> {
    if !(1..=500).contains(&page.limit) {
        return Err(Problem::new(codes::INVALID_QUERY, "A limit is 1 to 500."));
    }
    // A posting's number, which nobody but us has to know; it stays within what Lua counts exactly.
    let newest = page.cursor.as_deref().map(|cursor| match cursor.parse() {
        Ok(newest @ 1..=9_007_199_254_740_991) => Ok(newest),
        _ => Err(Problem::new(codes::INVALID_QUERY, "The cursor is none that was given here.")),
    });
    let list = List { account_id, newest: newest.transpose()?, limit: page.limit + 1 };
    let Done { reply, replayed } = store.run(&list, &context).await?;

    let Postings { newest, mut transactions } = reply;
    transactions.reverse();
    let more = transactions.len() as u64 > page.limit;
    if more {
        transactions.pop();
    }
    let next_cursor = more.then(|| (newest - page.limit).to_string());
    Ok(Answer::ok(Done { reply: Transactions { transactions, next_cursor }, replayed }))
}
