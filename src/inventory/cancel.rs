use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, HeldReservation, Reservation, ReservationReply};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A reservation to give back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CancelReservation, example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct Cancel {
    pub reservation_id: Id,
}

pub struct Cancelling(HeldReservation);

impl Operation for Cancelling {
    const NAME: &'static str = "inventory/cancel";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind(invocation);
    }
}

impl Command for Cancel {
    type Operation = Cancelling;
    type Output = Reservation;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Cancelling, Problem> {
        Ok(Cancelling(HeldReservation::find(self.reservation_id, store, context).await?))
    }

    fn answer(
        _: &Cancelling,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::ok(ReservationReply::changed(result?)))
    }
}

/// Cancel a reservation
///
/// What it still holds is available again.
#[utoipa::path(
    post,
    path = "/inventory/cancel",
    operation_id = Cancelling::NAME,
    tag = "inventory",
    request_body = Cancel,
    responses((status = OK, body = Reservation, description = "The units are available again.")),
)]
pub async fn cancel(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Cancel>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
