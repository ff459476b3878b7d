use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, FreezeDirection, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Command, IfMatch, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, enum_from_str},
};

/// An account to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct Freeze {
    pub account_id: Id,
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "both")]
    pub direction: FreezeDirection,
}

/// The same, of one version of the account.
pub struct Freezing {
    request: Freeze,
    expected_version: IfMatch,
}

impl Operation for Freezing {
    const NAME: &'static str = "accounts/freeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, invocation: &mut Invocation) {
        let Freeze { account_id, direction } = &self.request;
        bind_account(invocation, account_id)
            .key("holds_key", HOLDS, account_id)
            .arg("account_id", account_id)
            .arg("direction", direction)
            .arg("expected_version", &self.expected_version);
    }
}

impl Command for Freeze {
    type Operation = Freezing;
    type Output = Account;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Freezing, Problem> {
        Ok(Freezing { request: self, expected_version: IfMatch::default() })
    }

    fn answer(
        _: &Freezing,
        result: Result<Completed<AccountReply>, store::Error>,
    ) -> api::Result<Account> {
        Ok(AccountReply::answer(result?, Answer::ok))
    }
}

/// Freeze an account
///
/// Stops money from leaving it, from coming in, or both. What is frozen already stays so. Holds stay
/// as they are: they cannot be captured while the freeze is in the way, but they can be released,
/// and their time goes on.
#[utoipa::path(
    post,
    path = "/accounts/freeze",
    operation_id = Freezing::NAME,
    tag = "accounts",
    params(IfMatch),
    request_body = Freeze,
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn freeze(
    State(store): State<Store>,
    Caller(context): Caller,
    expected_version: IfMatch,
    Json(request): Json<Freeze>,
) -> api::Result<Account> {
    let operation = Freezing { request, expected_version };
    Freeze::answer(&operation, store.run(&operation, &context).await)
}
