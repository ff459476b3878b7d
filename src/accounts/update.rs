//! `PATCH /accounts/{account_id}`: changes the limits and the metadata of an account.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Conditional, IfMatch, Json, Path},
    store::{Invocation, Operation, Store},
    types::{AmountOrZero, Code, Id, Metadata, non_null},
};

/// Fields of an account to change. A field that is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "overdraft_limit": "50.00", "max_balance": "10000.00", "metadata": { "tier": "gold" }
}))]
pub struct UpdateAccount {
    /// New amount by which debits and holds may exceed the balance: zero or more, and at least what
    /// they exceed it by now.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = AmountOrZero, required = false)]
    pub overdraft_limit: Option<AmountOrZero>,
    /// New balance that no credit may exceed: zero or more, and at least the balance now; null to lift
    /// the limit.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<AmountOrZero>)]
    pub max_balance: Option<Option<AmountOrZero>>,
    /// New entries in place of all old ones: at most 50, and 8 KiB in all.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Metadata, required = false)]
    pub metadata: Option<Metadata>,
}

/// The fields to change, and the account that the path names.
struct AccountUpdate {
    account_id: Id,
    fields: UpdateAccount,
}

impl Operation for Conditional<AccountUpdate> {
    const NAME: &'static str = "accounts/update";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let AccountUpdate { account_id, fields } = &self.request;
        let UpdateAccount { overdraft_limit, max_balance, metadata } = fields;
        let max_digits = match max_balance {
            Some(None) => "none".to_owned(),
            Some(limit) => AmountOrZero::digits_or_nothing(*limit),
            None => String::new(),
        };
        bind_account(invocation, account_id)
            .key("holds_key", HOLDS, account_id)
            .arg("account_id", account_id)
            .arg("expected_version", &self.if_match)
            .arg("overdraft_limit", AmountOrZero::digits_or_nothing(*overdraft_limit))
            .arg("overdraft_decimals", overdraft_limit.map_or(0, AmountOrZero::decimals))
            .arg("max_balance", max_digits)
            .arg("max_decimals", max_balance.flatten().map_or(0, AmountOrZero::decimals))
            .arg("metadata", metadata.as_ref().map_or(String::new(), Metadata::to_string));
    }
}

/// Change an account
///
/// Changes the limits and the metadata. With the header `If-Match`, the account is changed only if
/// its version is one of those named there.
#[utoipa::path(
    patch,
    path = "/accounts/{account_id}",
    operation_id = Conditional::<AccountUpdate>::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path, description = "Id of the account."), IfMatch),
    request_body = UpdateAccount,
    responses((status = OK, body = Account, description = "The account after the change.")),
)]
pub async fn update(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
    if_match: IfMatch,
    Json(request): Json<UpdateAccount>,
) -> api::Result<Account> {
    let update = AccountUpdate { account_id, fields: request };
    let reply = store.run(&Conditional { request: update, if_match }, &context).await?;
    Ok(AccountReply::answer(reply, Answer::ok))
}
