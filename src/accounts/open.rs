use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, bind_account, may_be_opened};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{AmountOrZero, Code, Currency, Id, Invalid, Metadata},
};

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OpenAccount, example = json!({ "account_id": "alice", "currency": "USD", "initial_balance": "100.00" }))]
pub struct Open {
    pub account_id: Id,
    #[serde(default)]
    #[schema(default = "USD")]
    pub currency: Currency,
    /// Posted from `external`.
    #[schema(default = "0")]
    pub initial_balance: Option<AmountOrZero>,
    /// How far below zero the balance may go.
    #[schema(default = "0")]
    pub overdraft_limit: Option<AmountOrZero>,
    /// How far up the balance may go; no limit where it is not given.
    pub max_balance: Option<AmountOrZero>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// The same, with its amounts in the minor units of its currency.
pub struct Opening {
    request: Open,
    initial_balance: i128,
    overdraft_limit: i128,
    max_balance: Option<i128>,
}

impl TryFrom<Open> for Opening {
    type Error = Problem;

    fn try_from(request: Open) -> Result<Opening, Problem> {
        if !may_be_opened(&request.account_id) {
            let detail = format!("The id {} is a word of this service.", request.account_id);
            return Err(Problem::invalid(&Invalid::new("invalid_id", detail), "/account_id"));
        }
        let scale = request.currency.scale();
        let minor = |amount: Option<AmountOrZero>, pointer| match amount {
            None => Ok(None),
            Some(amount) => amount
                .minor_units(scale)
                .map(Some)
                .map_err(|invalid| Problem::invalid(&invalid, pointer)),
        };
        Ok(Opening {
            initial_balance: minor(request.initial_balance, "/initial_balance")?.unwrap_or(0),
            overdraft_limit: minor(request.overdraft_limit, "/overdraft_limit")?.unwrap_or(0),
            max_balance: minor(request.max_balance, "/max_balance")?,
            request,
        })
    }
}

impl Operation for Opening {
    const NAME: &'static str = "accounts/open";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let transaction_id = GeneratedId::new("tx_");
        let Open { account_id, currency, metadata, .. } = &self.request;
        bind_account(invocation, account_id)
            .key("account_log", "postings", account_id)
            .key("external_key", "external", "accounts")
            .key("index_key", "index", "accounts")
            .generated_key("transaction_key", "transaction", transaction_id)
            .arg("account_id", account_id)
            .arg("currency", currency)
            .arg("scale", currency.scale())
            .arg("initial_balance", self.initial_balance)
            .arg("overdraft_limit", self.overdraft_limit)
            .arg("max_balance", self.max_balance.map_or(String::new(), |max| max.to_string()))
            .arg("metadata", metadata)
            .generated_id("transaction_id", transaction_id);
    }
}

impl Command for Open {
    type Operation = Opening;
    type Output = Account;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Opening, Problem> {
        Opening::try_from(self)
    }

    fn answer(
        _: &Opening,
        result: Result<Completed<AccountReply>, store::Error>,
    ) -> api::Result<Account> {
        Ok(AccountReply::answer(result?, Answer::created))
    }
}

/// Open an account
///
/// An initial balance is posted from the account `external`, like a deposit.
#[utoipa::path(
    post,
    path = "/accounts",
    operation_id = Opening::NAME,
    tag = "accounts",
    request_body = Open,
    responses((status = CREATED, body = Account, description = "The account is open.")),
)]
pub async fn open(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Open>,
) -> api::Result<Account> {
    request.run(&store, &context).await
}
