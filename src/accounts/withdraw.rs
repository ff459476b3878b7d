use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, MoveMoney, Moved};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Call, Context, Done, Operation, Store},
    types::Code,
};

/// Money to take out of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Withdraw(MoveMoney);

impl Operation for Withdraw {
    const NAME: &'static str = "accounts/withdraw";
    const CODES: &'static [Code] = CODES;
    type Reply = Moved;

    fn bind(&self, call: &mut Call) {
        self.0.bind(call);
    }
}

impl Command for Withdraw {
    type Operation = Withdraw;
    type Output = Moved;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Withdraw, Problem> {
        Ok(self)
    }

    fn answer(_: &Withdraw, result: Result<Done<Moved>, store::Error>) -> api::Result<Moved> {
        Ok(Answer::created(result?))
    }
}

/// Take money out
///
/// The other side is the account `external`. The account never goes below its overdraft limit.
#[utoipa::path(
    post,
    path = "/accounts/withdraw",
    operation_id = Withdraw::NAME,
    tag = "accounts",
    request_body = MoveMoney,
    responses((status = CREATED, body = Moved, description = "The money is out.")),
)]
pub async fn withdraw(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<Withdraw>,
) -> api::Result<Moved> {
    order.run(&store, &context).await
}
