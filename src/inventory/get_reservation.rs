use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, Path, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Timestamp},
};

struct GetReservation(Id);

/// Units that are set aside for a customer for a while.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "customer_id": "carol",
    "status": "held",
    "lines": [{
        "product_id": "espresso-cup", "quantity": 2, "confirmed": 0, "released": 0, "held": 2,
        "remaining": 98
    }],
    "extensions": 0,
    "created_at": "2026-01-31T12:00:00.000Z",
    "expires_at": "2026-01-31T12:05:00.000Z"
}))]
pub struct Reservation {
    /// Minted by the service.
    pub reservation_id: String,
    /// For whom.
    pub customer_id: Id,
    /// How it stands.
    pub status: ReservationStatus,
    /// What it holds, each product once.
    pub lines: Vec<ReservedLine>,
    /// How often it was extended.
    pub extensions: u64,
    /// When, on Redis' clock.
    pub created_at: Timestamp,
    /// When it is over, from that millisecond on.
    pub expires_at: Timestamp,
}

/// How a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReservationStatus {
    /// The units are set aside.
    Held,
    /// The last of them was sold, or released with what was sold.
    Confirmed,
    /// They were given back.
    Cancelled,
    /// Its time was up, and the units are free again.
    Expired,
}

/// Units of one product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReservedLine {
    /// What the caller calls the product.
    pub product_id: Id,
    /// Units that were reserved.
    #[schema(example = 2)]
    pub quantity: u64,
    /// What of them is sold.
    #[schema(example = 0)]
    pub confirmed: u64,
    /// What of them is available again.
    #[schema(example = 0)]
    pub released: u64,
    /// What of them is still set aside.
    #[schema(example = 2)]
    pub held: u64,
    /// What is available of the product right after; only in the answer to a command that changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 98)]
    pub remaining: Option<u64>,
    /// True where this call made the stock of the product low, false where it made it rise again;
    /// missing where it did neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_stock: Option<bool>,
}

/// What a script tells of one reservation.
#[derive(Debug, Deserialize)]
pub struct ReservationReply {
    /// The reservation.
    pub reservation: Reservation,
}

impl ReservationReply {
    /// The reservation, where a command has changed its stock: what it crossed is counted, once.
    pub fn changed(done: Completed<ReservationReply>) -> Completed<Reservation> {
        for crossed in done.reply.reservation.lines.iter().filter_map(|line| line.low_stock) {
            count_crossing(crossed, done.replayed);
        }
        done.map(|reply| reply.reservation)
    }
}

/// Counts a product whose stock became low, or is no longer low; a replay tells what was counted before.
pub fn count_crossing(low: bool, replayed: bool) {
    if replayed {
        return;
    }
    let direction = if low { "below" } else { "above" };
    metrics::counter!("lockstep_low_stock_crossings_total", "direction" => direction).increment(1);
}

impl Operation for GetReservation {
    const NAME: &'static str = "inventory/get_reservation";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("reservation_key", "reservation", &self.0).arg("reservation_id", &self.0);
    }
}

/// A reservation that a command names, and its customer and products, whose keys the command needs
/// beside the reservation's own. They never change, so they may be asked for before.
pub struct HeldReservation {
    reservation_id: Id,
    parties: Option<(Id, Vec<Id>)>,
}

impl HeldReservation {
    /// Finds out what it is of. One that is not there is no error yet: the command may have been sent
    /// before, under an idempotency key that remembers more.
    pub async fn find(
        reservation_id: Id,
        store: &Store,
        context: &Context,
    ) -> Result<HeldReservation, Problem> {
        match store.run(&GetReservation(reservation_id.clone()), context).await {
            Ok(done) => {
                let Reservation { customer_id, lines, .. } = done.reply.reservation;
                let products = lines.into_iter().map(|line| line.product_id).collect();
                Ok(HeldReservation { reservation_id, parties: Some((customer_id, products)) })
            }
            Err(store::Error::Refused(_)) => Ok(HeldReservation { reservation_id, parties: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// Binds the reservation, and of each of its products what it has there.
    pub fn bind<'a>(&self, invocation: &'a mut Invocation) -> &'a mut Invocation {
        invocation.key("reservation_key", "reservation", &self.reservation_id);
        if let Some((customer_id, products)) = &self.parties {
            for id in products {
                invocation
                    .derived_key("product_key", "product", id)
                    .derived_key("holds_key", HOLDS, id)
                    .derived_key("log_key", "movements", id)
                    .derived_key("allowance_key", "allowance", allowance(customer_id, id));
            }
        }
        invocation.arg("reservation_id", &self.reservation_id)
    }
}

/// What one customer may have of one product; no id has a slash, so no two of them are one.
pub fn allowance(customer_id: &Id, product_id: &Id) -> String {
    format!("{customer_id}/{product_id}")
}

/// Get a reservation
///
/// It is remembered for 7 days after its end.
#[utoipa::path(
    get,
    path = "/inventory/reservations/{reservation_id}",
    operation_id = GetReservation::NAME,
    tag = "inventory",
    params(("reservation_id" = Id, Path, example = "res_0199f6c28f7a7c319d4e52a1b7f0c6aa")),
    responses((status = OK, body = Reservation, description = "The reservation.")),
)]
pub async fn get_reservation(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(reservation_id): Path,
) -> api::Result<Reservation> {
    let done = store.run(&GetReservation(reservation_id), &context).await?;
    Ok(Answer::ok(done.map(|reply| reply.reservation)))
}
