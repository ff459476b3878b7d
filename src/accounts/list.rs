//! `GET /accounts`: lists the accounts of a space, filtered by status and currency.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Account, AccountStatus, CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Listed, Page, Problem, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Currency, codes},
};

/// The query parameters of the list of accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountsPage {
    /// The most accounts of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before. Without it the first page is answered.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
    pub cursor: Option<String>,
    /// Lists only accounts of this status.
    pub status: Option<AccountStatus>,
    /// Lists only accounts in this currency: a code of ISO 4217, or one that the service's
    /// configuration declares.
    #[param(value_type = Option<Currency>)]
    pub currency: Option<String>,
}

/// A page of the accounts of a space, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accounts {
    /// Accounts that pass the filter, in the order of their ids.
    pub accounts: Vec<Account>,
    /// The `cursor` of the next page; missing on the last one. A filtered page may have fewer
    /// accounts than its limit, or none, and still have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "alice")]
    pub next_cursor: Option<String>,
}

struct ListAccounts(ScanStep);

impl Operation for ListAccounts {
    const NAME: &'static str = "accounts/list";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<Account>;

    fn bind(&self, invocation: &mut Invocation) {
        let ListAccounts(step) = self;
        invocation.key("index_key", "index", "accounts");
        for id in &step.ids {
            invocation.key("account_key", "account", id).key("holds_key", HOLDS, id);
        }
        invocation.arg("after", step.after()).arg("count", step.count);
        for id in &step.ids {
            invocation.arg("account_id", id);
        }
    }
}

impl Listed for Account {
    fn id(&self) -> &str {
        self.account_id.as_str()
    }
}

/// List accounts
///
/// Answers a page of the accounts of the space, in the order of their ids. Every page shows the
/// accounts as they are when it is read. An account that is opened meanwhile is on a later page or
/// on none, and no account is on two pages.
#[utoipa::path(
    get,
    path = "/accounts",
    operation_id = ListAccounts::NAME,
    tag = "accounts",
    params(AccountsPage),
    responses((status = OK, body = Accounts, description = "The page of accounts.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list(
    State(store): State<Store>,
    Query(page): Query<AccountsPage>,
    Caller(context): Caller,
) -> api::Result<Accounts> {
    if page.currency.as_deref().is_some_and(|code| !Currency::is_code(code)) {
        let detail = "A currency is 3 to 12 characters of A-Z 0-9.";
        return Err(Problem::new(codes::INVALID_QUERY, detail));
    }
    let scan = KeysetScan::new(page.limit, page.cursor)?.filtered();
    let keep = |account: &Account| {
        page.status.is_none_or(|status| account.status == status)
            && page.currency.as_ref().is_none_or(|currency| account.currency == *currency)
    };
    let list = scan.page(&store, &context, ListAccounts, keep).await?;
    let reply = Accounts { accounts: list.items, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
