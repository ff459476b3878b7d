//! `POST /accounts/withdraw`: takes money out of an account, to the account `external`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, ExternalTransfer, Receipt, transaction_path};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::Code,
};

/// Money to take out of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Withdraw(ExternalTransfer);

impl Operation for Withdraw {
    const NAME: &'static str = "accounts/withdraw";
    const CODES: &'static [Code] = CODES;
    type Reply = Receipt;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind(invocation);
    }
}

impl Command for Withdraw {
    type Operation = Withdraw;
    type Output = Receipt;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Withdraw, Problem> {
        Ok(self)
    }

    fn answer(
        _: &Withdraw,
        result: Result<Completed<Receipt>, store::Error>,
    ) -> api::Result<Receipt> {
        let answer = Answer::created(result?);
        Ok(answer.with_location(|receipt| transaction_path(&receipt.transaction_id)))
    }
}

/// Withdraw money
///
/// The account `external` of the same currency is credited with as much, so that all balances of the
/// space still add up to zero. The withdrawal is refused if it is more than the account has
/// available, its overdraft limit included.
#[utoipa::path(
    post,
    path = "/accounts/withdraw",
    operation_id = Withdraw::NAME,
    tag = "accounts",
    request_body = ExternalTransfer,
    responses((status = CREATED, body = Receipt, description = "The account has been debited.")),
)]
pub async fn withdraw(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Withdraw>,
) -> api::Result<Receipt> {
    request.run(&store, &context).await
}
