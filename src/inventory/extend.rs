use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, HeldReservation, Reservation, ReservationReply};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Ttl},
};

/// A reservation that is needed for longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExtendReservation, example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa", "ttl_ms": 300_000
}))]
pub struct Extend {
    pub reservation_id: Id,
    /// How long from now. It never ends earlier than it would have.
    pub ttl_ms: Ttl,
}

pub struct Extending {
    held: HeldReservation,
    ttl_ms: Ttl,
}

impl Operation for Extending {
    const NAME: &'static str = "inventory/extend";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.held.bind(invocation).arg("ttl_ms", self.ttl_ms);
    }
}

impl Command for Extend {
    type Operation = Extending;
    type Output = Reservation;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Extending, Problem> {
        let Extend { reservation_id, ttl_ms } = self;
        Ok(Extending { held: HeldReservation::find(reservation_id, store, context).await?, ttl_ms })
    }

    fn answer(
        _: &Extending,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::ok(ReservationReply::changed(result?)))
    }
}

/// Extend a reservation
///
/// The units stay set aside for `ttl_ms` from now, or for as long as they are already, whichever is
/// longer. At most 10 times, and for 24 hours in all.
#[utoipa::path(
    post,
    path = "/inventory/extend",
    operation_id = Extending::NAME,
    tag = "inventory",
    request_body = Extend,
    responses((status = OK, body = Reservation, description = "The reservation, with its new end.")),
)]
pub async fn extend(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Extend>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
