//! `POST /accounts/deposit`: brings money into an account from the account `external`.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, ExternalTransfer, Receipt, transaction_path};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::Code,
};

/// Money to bring into an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Deposit(ExternalTransfer);

impl Operation for Deposit {
    const NAME: &'static str = "accounts/deposit";
    const CODES: &'static [Code] = CODES;
    type Reply = Receipt;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind(invocation);
    }
}

impl Command for Deposit {
    type Operation = Deposit;
    type Output = Receipt;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Deposit, Problem> {
        Ok(self)
    }

    fn answer(
        _: &Deposit,
        result: Result<Completed<Receipt>, store::Error>,
    ) -> api::Result<Receipt> {
        let answer = Answer::created(result?);
        Ok(answer.with_location(|receipt| transaction_path(&receipt.transaction_id)))
    }
}

/// Deposit money
///
/// The account `external` of the same currency is debited by as much, so that all balances of the
/// space still add up to zero. The deposit is refused if it would raise the balance above the
/// account's `max_balance`.
#[utoipa::path(
    post,
    path = "/accounts/deposit",
    operation_id = Deposit::NAME,
    tag = "accounts",
    request_body = ExternalTransfer,
    responses((status = CREATED, body = Receipt, description = "The account has been credited.")),
)]
pub async fn deposit(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Deposit>,
) -> api::Result<Receipt> {
    request.run(&store, &context).await
}
