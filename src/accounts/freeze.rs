//! `POST /accounts/freeze`: stops money from leaving an account, from coming in, or both.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, FreezeDirection, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Command, Conditional, IfMatch, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, enum_from_str},
};

/// An account to freeze.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct FreezeAccount {
    /// Id of the account to freeze.
    pub account_id: Id,
    /// Postings to refuse from now on, beside those that are refused already.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "both")]
    pub direction: FreezeDirection,
}

impl Operation for Conditional<FreezeAccount> {
    const NAME: &'static str = "accounts/freeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let FreezeAccount { account_id, direction } = &self.request;
        bind_account(invocation, account_id)
            .key("holds_key", HOLDS, account_id)
            .arg("account_id", account_id)
            .arg("direction", direction)
            .arg("expected_version", &self.if_match);
    }
}

impl Command for FreezeAccount {
    type Operation = Conditional<FreezeAccount>;
    type Output = Account;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Self::Operation, Problem> {
        Ok(Conditional::on_any_version(self))
    }

    fn answer(
        _: &Self::Operation,
        result: Result<Completed<AccountReply>, store::Error>,
    ) -> api::Result<Account> {
        Ok(AccountReply::answer(result?, Answer::ok))
    }
}

/// Freeze an account
///
/// Refuses debits, credits or both with `account_frozen` until the account is unfrozen. Freezing one
/// direction and then the other freezes both. Holds stay open and expire as before: they can be
/// released, but not captured against the freeze. With the header `If-Match`, the account is frozen
/// only if its version is one of those named there.
#[utoipa::path(
    post,
    path = "/accounts/freeze",
    operation_id = Conditional::<FreezeAccount>::NAME,
    tag = "accounts",
    params(IfMatch),
    request_body = FreezeAccount,
    responses((status = OK, body = Account, description = "The account after the freeze.")),
)]
pub async fn freeze(
    State(store): State<Store>,
    Caller(context): Caller,
    if_match: IfMatch,
    Json(request): Json<FreezeAccount>,
) -> api::Result<Account> {
    Conditional::run(request, if_match, &store, &context).await
}
