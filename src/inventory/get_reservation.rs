//! `GET /inventory/reservations/{reservation_id}`: answers a reservation. Here is also what the
//! commands on a reservation share: its shape, and the lookup of its products.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, Path, Problem},
    store::{Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Timestamp},
};

struct GetReservation(Id);

/// Units of products that are held for a customer until they are sold, released, or the reservation
/// expires.
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
    /// The id of the reservation, given by the service: `res_` and 32 hexadecimal digits.
    pub reservation_id: String,
    /// The id of the customer for whom the units are held.
    pub customer_id: Id,
    /// The state of the reservation.
    pub status: ReservationStatus,
    /// The reserved units, with one line for each product: 1 to 100 lines.
    pub lines: Vec<ReservedLine>,
    /// The number of times that the reservation was extended: 0 to 10.
    pub extensions: u64,
    /// The moment at which the reservation was made, on Redis' clock.
    pub created_at: Timestamp,
    /// The moment at which the reservation expires, on Redis' clock. From that millisecond on the
    /// units that it still holds are available again.
    pub expires_at: Timestamp,
}

/// The state of a reservation: `held` while it holds units, `confirmed` when its units were sold and
/// any rest was released, `cancelled` when a call gave back what it held, `expired` when its time was
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReservationStatus {
    /// It holds units.
    Held,
    /// A confirmation has sold its units, or sold some and released the rest.
    Confirmed,
    /// A cancellation has made the units available again that it held.
    Cancelled,
    /// Its time was up, and the units that it held are available again.
    Expired,
}

/// The units of one product in a reservation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReservedLine {
    /// The id of the product.
    pub product_id: Id,
    /// Units that were reserved: 1 to 10^12. It is `confirmed`, `released` and `held` together.
    #[schema(example = 2)]
    pub quantity: u64,
    /// Units that were sold: 0 to `quantity`.
    #[schema(example = 0)]
    pub confirmed: u64,
    /// Units that are available again: 0 to `quantity`.
    #[schema(example = 0)]
    pub released: u64,
    /// Units that are still reserved: 0 to `quantity`.
    #[schema(example = 2)]
    pub held: u64,
    /// Units of the product that can be reserved right after the call. Only the answer to a command
    /// that changed the product's stock has this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 98)]
    pub remaining: Option<u64>,
    /// True if the stock of the product was not low before this call and is low now, false if it was
    /// low and no longer is; missing if neither has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_stock: Option<bool>,
}

/// The reply of a script that answers one reservation.
#[derive(Debug, Deserialize)]
pub struct ReservationReply {
    reservation: Reservation,
}

impl ReservationReply {
    /// Returns the reservation after a command on it, and counts the products whose stock has become
    /// low by that command, or is no longer low.
    pub fn into_changed(completed: Completed<ReservationReply>) -> Completed<Reservation> {
        for low in completed.reply.reservation.lines.iter().filter_map(|line| line.low_stock) {
            count_low_stock_change(low, completed.replayed);
        }
        completed.map(|reply| reply.reservation)
    }
}

/// Counts a product whose stock has become low (`low`) or is no longer low, in the metric
/// `lockstep_low_stock_crossings_total`. A replay changes nothing and is not counted.
pub fn count_low_stock_change(low: bool, replayed: bool) {
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

/// A reservation that a command names, with its customer and its products. The command needs their
/// keys beside the key of the reservation. They never change, so they are read before the command runs.
pub struct HeldReservation {
    reservation_id: Id,
    /// The customer and the products; `None` where there is no such reservation any more.
    parties: Option<(Id, Vec<Id>)>,
}

impl HeldReservation {
    /// Reads the customer and the products of a reservation.
    ///
    /// A reservation that does not exist is not refused here, because the command may be a repeat
    /// whose idempotency record has outlived the reservation. The command's own script refuses it.
    ///
    /// # Errors
    ///
    /// Every other refusal and every failure of the read.
    pub async fn find(
        reservation_id: Id,
        store: &Store,
        context: &Context,
    ) -> Result<HeldReservation, Problem> {
        let reply = store.find(&GetReservation(reservation_id.clone()), context).await?;
        let parties = reply.map(|ReservationReply { reservation }| {
            let products = reservation.lines.into_iter().map(|line| line.product_id).collect();
            (reservation.customer_id, products)
        });
        Ok(HeldReservation { reservation_id, parties })
    }

    /// Binds the reservation, and for each of its products the keys of the product and of the
    /// customer's allowance.
    pub fn bind<'a>(&self, invocation: &'a mut Invocation) -> &'a mut Invocation {
        invocation.key("reservation_key", "reservation", &self.reservation_id);
        if let Some((customer_id, products)) = &self.parties {
            for id in products {
                invocation
                    .derived_key("product_key", "product", id)
                    .derived_key("holds_key", HOLDS, id)
                    .derived_key("log_key", "movements", id)
                    .derived_key("allowance_key", "allowance", allowance_id(customer_id, id));
            }
        }
        invocation.arg("reservation_id", &self.reservation_id)
    }
}

/// The id under which the units are counted that one customer has of one product. An id contains no
/// slash, so two pairs of ids never have the same one.
pub fn allowance_id(customer_id: &Id, product_id: &Id) -> String {
    format!("{customer_id}/{product_id}")
}

/// Get a reservation
///
/// A reservation that has ended can be read for 7 days after its end.
#[utoipa::path(
    get,
    path = "/inventory/reservations/{reservation_id}",
    operation_id = GetReservation::NAME,
    tag = "inventory",
    params((
        "reservation_id" = Id,
        Path,
        description = "The id of the reservation.",
        example = "res_0199f6c28f7a7c319d4e52a1b7f0c6aa"
    )),
    responses((status = OK, body = Reservation, description = "The reservation.")),
)]
pub async fn get_reservation(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(reservation_id): Path,
) -> api::Result<Reservation> {
    let completed = store.run(&GetReservation(reservation_id), &context).await?;
    Ok(Answer::ok(completed.map(|reply| reply.reservation)))
}
