//! `POST /accounts/unfreeze`: lets money leave a frozen account again, come in again, or both.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, FreezeDirection, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Command, Conditional, IfMatch, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, enum_from_str},
};

/// An account to unfreeze.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct UnfreezeAccount {
    /// Id of the account to unfreeze.
    pub account_id: Id,
    /// Postings to allow again. The other direction stays frozen if it was.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "both")]
    pub direction: FreezeDirection,
}

impl Operation for Conditional<UnfreezeAccount> {
    const NAME: &'static str = "accounts/unfreeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let UnfreezeAccount { account_id, direction } = &self.request;
        bind_account(invocation, account_id)
            .key("holds_key", HOLDS, account_id)
            .arg("account_id", account_id)
            .arg("direction", direction)
            .arg("expected_version", &self.if_match);
    }
}

impl Command for UnfreezeAccount {
    type Operation = Conditional<UnfreezeAccount>;
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

/// Unfreeze an account
///
/// Allows debits, credits or both again. An account that is not frozen in that direction stays as it
/// is. With the header `If-Match`, the account is unfrozen only if its version is one of those named
/// there.
#[utoipa::path(
    post,
    path = "/accounts/unfreeze",
    operation_id = Conditional::<UnfreezeAccount>::NAME,
    tag = "accounts",
    params(IfMatch),
    request_body = UnfreezeAccount,
    responses((status = OK, body = Account, description = "The account after the change.")),
)]
pub async fn unfreeze(
    State(store): State<Store>,
    Caller(context): Caller,
    if_match: IfMatch,
    Json(request): Json<UnfreezeAccount>,
) -> api::Result<Account> {
    Conditional::run(request, if_match, &store, &context).await
}
