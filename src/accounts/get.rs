use axum::extract::State;

use super::{Account, CODES, bind_account};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Call, Operation, Store},
    types::{Code, Id},
};

struct Get(Id);

impl Operation for Get {
    const NAME: &'static str = "accounts/get";
    const CODES: &'static [Code] = CODES;
    type Reply = Account;

    fn bind(&self, call: &mut Call) {
        bind_account(call, &self.0)
            .key("account_log", "postings", &self.0)
            .arg("account_id", &self.0);
    }
}

/// Get an account
///
/// With its five newest transactions. The ETag is its version.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}",
    operation_id = Get::NAME,
    tag = "accounts",
    params(("account_id" = Id, Path)),
    responses((status = OK, body = Account, description = "The account.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(account_id): Path,
) -> api::Result<Account> {
    let mut done = store.run(&Get(account_id), &context).await?;
    // Redis keeps the log oldest first.
    done.reply.recent_transactions.iter_mut().for_each(|newest| newest.reverse());
    let version = done.reply.version;
    Ok(Answer::ok(done).with_version(version))
}
