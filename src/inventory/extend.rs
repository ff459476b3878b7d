//! `POST /inventory/extend`: postpones the moment at which a reservation expires.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, HeldReservation, Reservation, ReservationReply};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Ttl},
};

/// A reservation to hold for longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa", "ttl_ms": 300_000
}))]
pub struct ExtendReservation {
    /// Id of the reservation, as `POST /inventory/reserve` answered it.
    pub reservation_id: Id,
    /// Time from now until the reservation expires, in milliseconds: 1 to 2,592,000,000 (30 days),
    /// and at most 24 hours after the reservation was made. A reservation that expires later than that
    /// already keeps its `expires_at`.
    pub ttl_ms: Ttl,
}

/// An extension whose reservation has been looked up, so that the keys of its products are known.
pub struct ReservationExtension {
    held: HeldReservation,
    ttl_ms: Ttl,
}

impl Operation for ReservationExtension {
    const NAME: &'static str = "inventory/extend";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.held.bind(invocation).arg("ttl_ms", self.ttl_ms);
    }
}

impl Command for ExtendReservation {
    type Operation = ReservationExtension;
    type Output = Reservation;

    async fn prepare(
        self,
        store: &Store,
        context: &Context,
    ) -> Result<ReservationExtension, Problem> {
        let held = HeldReservation::find(self.reservation_id, store, context).await?;
        Ok(ReservationExtension { held, ttl_ms: self.ttl_ms })
    }

    fn answer(
        _: &ReservationExtension,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::ok(ReservationReply::into_changed(result?)))
    }
}

/// Extend a reservation
///
/// The reservation expires `ttl_ms` from now, unless it expires later than that already. It can be
/// extended 10 times, and then holds its units for at most 24 hours in all.
#[utoipa::path(
    post,
    path = "/inventory/extend",
    operation_id = ReservationExtension::NAME,
    tag = "inventory",
    request_body = ExtendReservation,
    responses((status = OK, body = Reservation, description = "The reservation, with its new `expires_at`.")),
)]
pub async fn extend(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ExtendReservation>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
