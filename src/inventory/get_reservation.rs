use axum::extract::State;

use super::{CODES, Reservation};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Call, Operation, Store},
    types::{Code, Id},
};

struct GetReservation(Id);

impl Operation for GetReservation {
    const NAME: &'static str = "inventory/get_reservation";
    const CODES: &'static [Code] = CODES;
    type Reply = Reservation;

    fn bind(&self, call: &mut Call) {
        call.key("reservation_key", "reservation", &self.0).arg("reservation_id", &self.0);
    }
}

/// Get a reservation
///
/// It is remembered for 7 days after its end.
#[utoipa::path(
    get,
    path = "/inventory/reservations/{reservation_id}",
    operation_id = GetReservation::NAME,
    tag = "inventory",
    params(("reservation_id" = Id, Path)),
    responses((status = OK, body = Reservation, description = "The reservation.")),
)]
pub async fn get_reservation(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(reservation_id): Path,
) -> api::Result<Reservation> {
    Ok(Answer::ok(store.run(&GetReservation(reservation_id), &context).await?))
}
