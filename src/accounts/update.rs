use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, IfMatch, Json, Path},
    store::{Invocation, Operation, Store},
    types::{AmountOrZero, Code, Id, Metadata, non_null},
};

/// What to change of an account; what is not named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateAccount, example = json!({ "overdraft_limit": "50.00", "metadata": { "tier": "gold" } }))]
pub struct Update {
    /// How far below zero the balance may go; not below what is overdrawn or held beyond the balance.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = AmountOrZero, required = false)]
    pub overdraft_limit: Option<AmountOrZero>,
    /// How far up the balance may go, not below the balance; null for no limit.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<AmountOrZero>)]
    pub max_balance: Option<Option<AmountOrZero>>,
    /// All of the caller's notes anew.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Metadata, required = false)]
    pub metadata: Option<Metadata>,
}

struct Updating {
    account_id: Id,
    request: Update,
    expected_version: IfMatch,
}

impl Operation for Updating {
    const NAME: &'static str = "accounts/update";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let Update { overdraft_limit, max_balance, metadata } = &self.request;
        let max_digits = match max_balance {
            Some(None) => "none".to_owned(),
            Some(limit) => AmountOrZero::digits_or_nothing(*limit),
            None => String::new(),
        };
        bind_account(invocation, &self.account_id)
            .key("holds_key", HOLDS, &self.account_id)
            .arg("account_id", &self.account_id)
            .arg("expected_version", &self.expected_version)
            .arg("overdraft_limit", AmountOrZero::digits_or_nothing(*overdraft_limit))
            .arg("overdraft_decimals", overdraft_limit.map_or(0, AmountOrZero::decimals))
            .arg("max_balance", max_digits)
            .arg("max_decimals", max_balance.flatten().map_or(0, AmountOrZero::decimals))
            .arg("metadata", metadata.as_ref().map_or(String::new(), Metadata::to_string));
    }
}

/// Change an account
///
/// Its limits and its metadata. With the header `If-Match` only if its version is still the one of
/// the ETag.
#[utoipa::path(
    patch,
    path = "/accounts/{account_id}",
    operation_id = Updating::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path), IfMatch),
    request_body = Update,
    responses((status = OK, body = Account, description = "The account.")),
    extensions(("x-refusals" = json!(["invalid_id"]))),
)]
pub async fn update(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
    expected_version: IfMatch,
    Json(request): Json<Update>,
) -> api::Result<Account> {
    let updating = Updating { account_id, request, expected_version };
    Ok(AccountReply::answer(store.run(&updating, &context).await?, Answer::ok))
}
