use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, MoveMoney, Moved};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Call, Operation, Store},
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
    Ok(Answer::created(store.run(&order, &context).await?))
}
