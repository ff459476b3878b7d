use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Account, AccountStatus, CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, Query},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Currency, Id},
};

/// Which accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountsPage {
    /// The most accounts to answer.
    #[serde(default = "AccountsPage::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before; without it, the first page.
    pub cursor: Option<String>,
    /// Only those that stand so.
    pub status: Option<AccountStatus>,
    /// Only those in this currency.
    #[param(value_type = Option<Currency>)]
    pub currency: Option<String>,
}

impl AccountsPage {
    fn default_limit() -> u64 {
        50
    }
}

/// Accounts of a space, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accounts {
    pub accounts: Vec<Account>,
    /// Where the next page begins; missing on the last one. With a filter a page may have fewer
    /// accounts than its limit, or none, and still have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "alice")]
    pub next_cursor: Option<String>,
}

/// A step of a walk through the accounts of a space: it tells about those that the step before has
/// named, because a script is given every key that it reads.
struct ListPage<'a> {
    named: &'a [Id],
    after: Option<&'a Id>,
    count: u64,
}

#[derive(Debug, Deserialize)]
struct ListReply {
    accounts: Vec<Account>,
    next: Vec<Id>,
}

impl Operation for ListPage<'_> {
    const NAME: &'static str = "accounts/list";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("index_key", "index", "accounts");
        for id in self.named {
            invocation.key("account_key", "account", id).key("holds_key", HOLDS, id);
        }
        invocation.arg("after", self.after.map_or("", Id::as_str)).arg("count", self.count);
        for id in self.named {
            invocation.arg("account_id", id);
        }
    }
}

/// How many accounts one page looks at, whatever is filtered out of them.
const MOST_LOOKED_AT: usize = 5000;

/// List accounts
///
/// In the order of their ids. Each page is a look of its own: an account that is opened meanwhile is
/// on a later page or on none, and no account is on two.
#[utoipa::path(
    get,
    path = "/accounts",
    operation_id = ListPage::NAME,
    tag = "accounts",
    params(AccountsPage),
    responses((status = OK, body = Accounts, description = "One page.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list(
    State(store): State<Store>,
    Query(page): Query<AccountsPage>,
    Caller(context): Caller,
) -> api::Result<Accounts> {
    let limit = api::page_limit(page.limit)?;
    let mut after = api::id_cursor(page.cursor)?;
    let (mut accounts, mut named, mut looked_at) = (Vec::new(), Vec::new(), 0);
    loop {
        let walk = ListPage { named: &named, after: after.as_ref(), count: page.limit };
        let ListReply { accounts: told, next } = store.run(&walk, &context).await?.reply;
        looked_at += told.len();
        accounts.extend(told.into_iter().filter(|account| {
            page.status.is_none_or(|status| account.status == status)
                && page.currency.as_ref().is_none_or(|currency| account.currency == *currency)
        }));
        if accounts.len() >= limit || next.is_empty() || looked_at >= MOST_LOOKED_AT {
            let more = accounts.len() > limit || !next.is_empty();
            accounts.truncate(limit);
            let last = accounts.last().filter(|_| accounts.len() == limit);
            let seen = last.map(|account| &account.account_id).or(after.as_ref());
            let next_cursor = seen.filter(|_| more).map(Id::to_string);
            let reply = Accounts { accounts, next_cursor };
            return Ok(Answer::ok(Completed { reply, replayed: false }));
        }
        after = next.last().cloned();
        named = next;
    }
}
