//! `POST /accounts`: opens an account.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Account, AccountReply, CODES, TRANSACTIONS, TransactionPlace, bind_account, reject_reserved,
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{AmountOrZero, Code, Currency, Id, Metadata},
};

/// An account to open.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "account_id": "alice",
    "currency": "USD",
    "initial_balance": "100.00",
    "overdraft_limit": "50.00",
    "max_balance": "10000.00",
    "metadata": { "customer": "1042" }
}))]
pub struct OpenAccount {
    /// Id of the new account, unique in its space. `external` and the path segments below `/accounts`
    /// (`transfer`, `holds` and so on) are refused.
    pub account_id: Id,
    /// Currency of the account. It never changes.
    #[serde(default)]
    #[schema(default = "USD")]
    pub currency: Currency,
    /// Amount to credit at once, as a deposit does: zero or more, with at most as many decimals as the
    /// currency has.
    #[schema(default = "0")]
    pub initial_balance: Option<AmountOrZero>,
    /// Amount by which debits and holds may exceed the balance: zero or more.
    #[schema(default = "0")]
    pub overdraft_limit: Option<AmountOrZero>,
    /// Balance that no credit may exceed, the initial one included: zero or more. There is no limit
    /// if it is left out.
    pub max_balance: Option<AmountOrZero>,
    /// Entries to keep with the account: at most 50, and 8 KiB in all.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The account to open, with its amounts in minor units of its currency.
pub struct NewAccount {
    request: OpenAccount,
    initial_balance: i128,
    overdraft_limit: i128,
    max_balance: Option<i128>,
}

impl TryFrom<OpenAccount> for NewAccount {
    type Error = Problem;

    fn try_from(request: OpenAccount) -> Result<NewAccount, Problem> {
        let account_id = reject_reserved(request.account_id)?;
        let request = OpenAccount { account_id, ..request };
        let scale = request.currency.scale();
        let minor = |amount: Option<AmountOrZero>, pointer| match amount {
            None => Ok(None),
            Some(amount) => amount
                .minor_units(scale)
                .map(Some)
                .map_err(|invalid| Problem::invalid(&invalid, pointer)),
        };
        Ok(NewAccount {
            initial_balance: minor(request.initial_balance, "/initial_balance")?.unwrap_or(0),
            overdraft_limit: minor(request.overdraft_limit, "/overdraft_limit")?.unwrap_or(0),
            max_balance: minor(request.max_balance, "/max_balance")?,
            request,
        })
    }
}

impl Operation for NewAccount {
    const NAME: &'static str = "accounts/open";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        let place = TransactionPlace::from(transaction_id);
        let OpenAccount { account_id, currency, metadata, .. } = &self.request;
        bind_account(invocation, account_id)
            .key("account_log", "postings", account_id)
            .key("external_key", "external", "accounts")
            .key("index_key", "index", "accounts")
            .derived_key("transactions_key", TRANSACTIONS, place.second)
            .arg("account_id", account_id)
            .arg("currency", currency)
            .arg("scale", currency.scale())
            .arg("initial_balance", self.initial_balance)
            .arg("overdraft_limit", self.overdraft_limit)
            .arg("max_balance", self.max_balance.map_or(String::new(), |max| max.to_string()))
            .arg("metadata", metadata)
            .generated_id("transaction_id", transaction_id)
            .derived_bytes("transaction_field", &place.field);
    }
}

impl Command for OpenAccount {
    type Operation = NewAccount;
    type Output = Account;

    async fn prepare(self, _: &Store, _: &Context) -> Result<NewAccount, Problem> {
        NewAccount::try_from(self)
    }

    fn answer(
        _: &NewAccount,
        result: Result<Completed<AccountReply>, store::Error>,
    ) -> api::Result<Account> {
        let answer = AccountReply::answer(result?, Answer::created);
        Ok(answer.with_location(|account| format!("/accounts/{}", account.account_id)))
    }
}

/// Open an account
///
/// An initial balance is a deposit: the account `external` of the currency is debited by as much.
#[utoipa::path(
    post,
    path = "/accounts",
    operation_id = NewAccount::NAME,
    tag = "accounts",
    request_body = OpenAccount,
    responses((status = CREATED, body = Account, description = "The account is open.")),
)]
pub async fn open(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<OpenAccount>,
) -> api::Result<Account> {
    request.run(&store, &context).await
}
