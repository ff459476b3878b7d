use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, MoveMoney, Moved};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Call, Context, Done, Operation, Store},
    types::Code,
};

/// Money to bring into an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Deposit(MoveMoney);

impl Operation for Deposit {
    const NAME: &'static str = "accounts/deposit";
    const CODES: &'static [Code] = CODES;
    type Reply = Moved;

    fn bind(&self, call: &mut Call) {
        self.0.bind(call);
    }
}

impl Command for Deposit {
    type Operation = Deposit;
    type Output = Moved;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Deposit, Problem> {
        Ok(self)
    }

    fn answer(_: &Deposit, result: Result<Done<Moved>, store::Error>) -> api::Result<Moved> {
        Ok(Answer::created(result?))
    }
}

/// Bring money in
///
/// The other side is the account `external`, so that the balances of the space still add up to zero.
#[utoipa::path(
    post,
    path = "/accounts/deposit",
    operation_id = Deposit::NAME,
    tag = "accounts",
    request_body = MoveMoney,
    responses((status = CREATED, body = Moved, description = "The money is in.")),
)]
pub async fn deposit(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<Deposit>,
) -> api::Result<Moved> {
    order.run(&store, &context).await
}
