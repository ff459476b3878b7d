//! `POST /inventory/confirm`: sells the units of a reservation, all of them or a part.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, HeldReservation, Reservation, ReservationReply,
    reserve::{Line, merge_lines},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, enum_from_str},
};

/// A reservation whose units are to be sold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct ConfirmReservation {
    /// Id of the reservation, as `POST /inventory/reserve` answered it.
    pub reservation_id: Id,
    /// Units to sell, of each product no more than the reservation holds: 1 to 100 lines. Without
    /// it all units are sold that the reservation holds.
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Option<Vec<Line>>,
    /// Treatment of the units that `lines` does not name.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "release")]
    pub remainder: Remainder,
}

/// The treatment of units that are not confirmed: `release` makes them available again, `keep` leaves
/// them reserved until the reservation expires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Remainder {
    /// Units are available again.
    #[default]
    Release,
    /// Units stay reserved until the reservation expires.
    Keep,
}

/// A confirmation whose reservation has been looked up, so that the keys of its products are known.
pub struct Confirmation {
    held: HeldReservation,
    /// Units to sell, each product once; empty for all that the reservation holds.
    lines: Vec<Line>,
    remainder: Remainder,
}

impl Operation for Confirmation {
    const NAME: &'static str = "inventory/confirm";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.held.bind(invocation).arg("remainder", self.remainder);
        for Line { product_id, quantity } in &self.lines {
            invocation.arg("product_id", product_id).arg("quantity", quantity);
        }
    }
}

impl Command for ConfirmReservation {
    type Operation = Confirmation;
    type Output = Reservation;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Confirmation, Problem> {
        let ConfirmReservation { reservation_id, lines, remainder } = self;
        let lines = lines.map(merge_lines).transpose()?.unwrap_or_default();
        let held = HeldReservation::find(reservation_id, store, context).await?;
        Ok(Confirmation { held, lines, remainder })
    }

    fn answer(
        _: &Confirmation,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::ok(ReservationReply::into_changed(result?)))
    }
}

/// Confirm a reservation
///
/// Sells the units that the reservation holds: all of them, or those of `lines`. `remainder` says
/// whether the rest is available again, or stays reserved for another confirmation.
#[utoipa::path(
    post,
    path = "/inventory/confirm",
    operation_id = Confirmation::NAME,
    tag = "inventory",
    request_body = ConfirmReservation,
    responses((status = OK, body = Reservation, description = "The reservation, whose units are sold.")),
)]
pub async fn confirm(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ConfirmReservation>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
