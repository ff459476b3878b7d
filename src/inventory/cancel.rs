//! `POST /inventory/cancel`: ends a reservation and makes its units available again.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, HeldReservation, Reservation, ReservationReply};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A reservation to cancel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct CancelReservation {
    /// Id of the reservation, as `POST /inventory/reserve` answered it.
    pub reservation_id: Id,
}

/// A cancellation whose reservation has been looked up, so that the keys of its products are known.
pub struct Cancellation(HeldReservation);

impl Operation for Cancellation {
    const NAME: &'static str = "inventory/cancel";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.0.bind(invocation);
    }
}

impl Command for CancelReservation {
    type Operation = Cancellation;
    type Output = Reservation;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Cancellation, Problem> {
        Ok(Cancellation(HeldReservation::find(self.reservation_id, store, context).await?))
    }

    fn answer(
        _: &Cancellation,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::ok(ReservationReply::into_changed(result?)))
    }
}

/// Cancel a reservation
///
/// The units that it still holds are available again. Units that were confirmed stay sold.
#[utoipa::path(
    post,
    path = "/inventory/cancel",
    operation_id = Cancellation::NAME,
    tag = "inventory",
    request_body = CancelReservation,
    responses((status = OK, body = Reservation, description = "The cancelled reservation.")),
)]
pub async fn cancel(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<CancelReservation>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
