use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, FreezeDirection, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Command, IfMatch, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, enum_from_str},
};

/// An account to let go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct Unfreeze {
    pub account_id: Id,
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "both")]
    pub direction: FreezeDirection,
}

/// The same, of one version of the account.
pub struct Unfreezing {
    request: Unfreeze,
    expected_version: IfMatch,
}

impl Operation for Unfreezing {
    const NAME: &'static str = "accounts/unfreeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let Unfreeze { account_id, direction } = &self.request;
        bind_account(invocation, account_id)
            .key("holds_key", HOLDS, account_id)
            .arg("account_id", account_id)
            .arg("direction", direction)
            .arg("expected_version", &self.expected_version);
    }
}

impl Command for Unfreeze {
    type Operation = Unfreezing;
    type Output = Account;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Unfreezing, Problem> {
        Ok(Unfreezing { request: self, expected_version: IfMatch::default() })
    }

    fn answer(
        _: &Unfreezing,
        result: Result<Completed<AccountReply>, store::Error>,
    ) -> api::Result<Account> {
        Ok(AccountReply::answer(result?, Answer::ok))
    }
}

/// Unfreeze an account
///
/// Lets money leave it again, come in again, or both.
#[utoipa::path(
    post,
    path = "/accounts/unfreeze",
    operation_id = Unfreezing::NAME,
    tag = "accounts",
    params(IfMatch),
    request_body = Unfreeze,
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn unfreeze(
    State(store): State<Store>,
    Caller(context): Caller,
    expected_version: IfMatch,
    Json(request): Json<Unfreeze>,
) -> api::Result<Account> {
    let operation = Unfreezing { request, expected_version };
    Unfreeze::answer(&operation, store.run(&operation, &context).await)
}
