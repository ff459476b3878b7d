use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Account, AccountReply, CODES, Frozen, HOLDS, bind_account};
use crate::{
    api::{self, Answer, Caller, Command, IfMatch, Json, Problem},
    store::{self, Call, Context, Done, Operation, Store},
    types::{Code, Id, word},
};

/// An account to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "account_id": "alice", "direction": "debits" }))]
pub struct Freeze {
    pub account_id: Id,
    #[serde(default, deserialize_with = "word")]
    #[schema(default = "both")]
    pub direction: Frozen,
}

/// The same, of one version of the account.
pub struct Freezing {
    order: Freeze,
    expected_version: IfMatch,
}

impl Operation for Freezing {
    const NAME: &'static str = "accounts/freeze";
    const CODES: &'static [Code] = CODES;
    type Reply = AccountReply;

    fn bind(&self, call: &mut Call) {
        let Freeze { account_id, direction } = &self.order;
        bind_account(call, account_id)
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
        Ok(Freezing { order: self, expected_version: IfMatch::default() })
    }

    fn answer(
        _: &Freezing,
        result: Result<Done<AccountReply>, store::Error>,
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
    request_body = Freeze,
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn freeze(
    State(store): State<Store>,
    Caller(context): Caller,
    expected_version: IfMatch,
    Json(order): Json<Freeze>,
) -> api::Result<Account> {
    let operation = Freezing { order, expected_version };
    Freeze::answer(&operation, store.run(&operation, &context).await)
}
