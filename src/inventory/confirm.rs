use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, HeldReservation, Reservation, ReservationReply,
    reserve::{Line, merged},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, enum_from_str},
};

/// What to sell of a reservation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmReservation, example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa"
}))]
pub struct Confirm {
    pub reservation_id: Id,
    /// A part of it; all that it holds, where nothing is said.
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Option<Vec<Line>>,
    /// What becomes of the rest.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "release")]
    pub remainder: Remainder,
}

/// What becomes of the units that are not confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Remainder {
    /// They are available again.
    #[default]
    Release,
    /// They stay set aside until the reservation's end.
    Keep,
}

pub struct Confirming {
    held: HeldReservation,
    lines: Vec<Line>,
    remainder: Remainder,
}

impl Operation for Confirming {
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

impl Command for Confirm {
    type Operation = Confirming;
    type Output = Reservation;

    async fn prepare(self, store: &Store, context: &Context) -> Result<Confirming, Problem> {
        let Confirm { reservation_id, lines, remainder } = self;
        let lines = lines.map(merged).transpose()?.unwrap_or_default();
        let held = HeldReservation::find(reservation_id, store, context).await?;
        Ok(Confirming { held, lines, remainder })
    }

    fn answer(
        _: &Confirming,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::ok(ReservationReply::changed(result?)))
    }
}

/// Confirm a reservation
///
/// Its units are sold: all of them, or those of `lines`. The rest is released, or kept for another
/// confirmation.
#[utoipa::path(
    post,
    path = "/inventory/confirm",
    operation_id = Confirming::NAME,
    tag = "inventory",
    request_body = Confirm,
    responses((status = OK, body = Reservation, description = "The units are sold.")),
)]
pub async fn confirm(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Confirm>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
