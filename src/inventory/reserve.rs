//! `POST /inventory/reserve`: holds units of products for a customer.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES, Reservation, bind_product,
    get_reservation::{ReservationStatus, ReservedLine, allowance_id, count_low_stock_changes},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Code, Id, Quantity, Timestamp, Ttl},
};

/// The most lines of one request.
const MAX_LINES: usize = 100;

/// Units to reserve for a customer: either `lines`, or one `product_id` with its `quantity`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "customer_id": "carol",
    "lines": [{ "product_id": "espresso-cup", "quantity": 2 }],
    "ttl_ms": 300_000
}))]
pub struct Reserve {
    /// Id of the customer for whom the units are held.
    pub customer_id: Id,
    /// Units to reserve, 1 to 100 lines. Lines of one product are added up.
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Option<Vec<Line>>,
    /// Id of the product, where there are no `lines`.
    pub product_id: Option<Id>,
    /// Units of that product, where there are no `lines`: 1 to 10^12.
    pub quantity: Option<Quantity>,
    /// Time for which the units are held, in milliseconds: 1 to 2,592,000,000 (30 days).
    #[serde(default = "Reserve::default_ttl")]
    #[schema(default = 300_000)]
    pub ttl_ms: Ttl,
}

/// Units of one product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Id of the product.
    pub product_id: Id,
    /// Units of the product: 1 to 10^12.
    pub quantity: Quantity,
}

/// A reservation to make: its lines name each product once, and it has an id.
pub struct NewReservation {
    customer_id: Id,
    lines: Vec<Line>,
    ttl_ms: Ttl,
    reservation_id: GeneratedId,
}

/// The reply of the script, without what the request has already.
#[derive(Debug, Deserialize)]
pub struct ReserveReply {
    reservation_id: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    /// For each line the units of its product that can still be reserved, and 1 if its stock has become low, 0
    /// if it no longer is, -1 if neither has happened.
    stock: Vec<i64>,
}

impl Reserve {
    fn default_ttl() -> Ttl {
        Ttl::from_ms(300_000)
    }
}

/// Adds up the lines of one product, in the order of the first of them.
///
/// A script checks line by line that there are enough units. Of two lines of one product, each could
/// pass where both together must not.
///
/// # Errors
///
/// `validation_failed` where there are not 1 to 100 lines, or the units of one product add up to more
/// than 10^12.
pub fn merge_lines(given: Vec<Line>) -> Result<Vec<Line>, Problem> {
    if given.is_empty() || given.len() > MAX_LINES {
        return Err(Problem::validation("/lines", "There are 1 to 100 lines."));
    }
    let mut lines: Vec<Line> = Vec::with_capacity(given.len());
    for (index, line) in given.into_iter().enumerate() {
        match lines.iter_mut().find(|known| known.product_id == line.product_id) {
            None => lines.push(line),
            Some(known) => {
                known.quantity = known.quantity.plus(line.quantity).ok_or_else(|| {
                    let pointer = format!("/lines/{index}/quantity");
                    Problem::validation(&pointer, "A quantity is at most 10^12.")
                })?;
            }
        }
    }
    Ok(lines)
}

impl TryFrom<Reserve> for NewReservation {
    type Error = Problem;

    fn try_from(request: Reserve) -> Result<NewReservation, Problem> {
        let given = match (request.lines, request.product_id, request.quantity) {
            (Some(lines), None, None) => lines,
            (None, Some(product_id), Some(quantity)) => vec![Line { product_id, quantity }],
            _ => {
                let detail = "Give either lines, or product_id and quantity.";
                return Err(Problem::validation("", detail));
            }
        };
        Ok(NewReservation {
            customer_id: request.customer_id,
            lines: merge_lines(given)?,
            ttl_ms: request.ttl_ms,
            reservation_id: GeneratedId::new("res_"),
        })
    }
}

impl NewReservation {
    fn reservation(&self, reply: ReserveReply) -> Reservation {
        let line = |(line, stock): (&Line, &[i64])| ReservedLine {
            product_id: line.product_id.clone(),
            quantity: line.quantity.units(),
            confirmed: 0,
            released: 0,
            held: line.quantity.units(),
            remaining: stock.first().map(|units| units.unsigned_abs()),
            low_stock: stock.get(1).filter(|low| **low >= 0).map(|low| *low == 1),
        };
        Reservation {
            reservation_id: reply.reservation_id,
            customer_id: self.customer_id.clone(),
            status: ReservationStatus::Held,
            lines: self.lines.iter().zip(reply.stock.chunks(2)).map(line).collect(),
            extensions: 0,
            created_at: reply.created_at,
            expires_at: reply.expires_at,
        }
    }
}

impl Operation for NewReservation {
    const NAME: &'static str = "inventory/reserve";
    const CODES: &'static [Code] = CODES;
    type Reply = ReserveReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .generated_key("reservation_key", "reservation", self.reservation_id)
            .key("customer_key", "reservations", &self.customer_id)
            .generated_id("reservation_id", self.reservation_id)
            .derived_bytes("id_bytes", &self.reservation_id.bytes())
            .arg("customer_id", &self.customer_id)
            .arg("ttl_ms", self.ttl_ms);
        for Line { product_id, quantity } in &self.lines {
            bind_product(invocation, product_id)
                .key("allowance_key", "allowance", allowance_id(&self.customer_id, product_id))
                .arg("product_id", product_id)
                .arg("quantity", quantity);
        }
    }
}

impl Command for Reserve {
    type Operation = NewReservation;
    type Output = Reservation;

    async fn prepare(self, _: &Store, _: &Context) -> Result<NewReservation, Problem> {
        NewReservation::try_from(self)
    }

    fn answer(
        request: &NewReservation,
        result: Result<Completed<ReserveReply>, store::Error>,
    ) -> api::Result<Reservation> {
        let reservation = result?.map(|reply| request.reservation(reply));
        count_low_stock_changes(&reservation);
        let answer = Answer::created(reservation);
        Ok(answer.with_location(|new| format!("/inventory/reservations/{}", new.reservation_id)))
    }
}

/// Reserve units
///
/// Reserves the units of all lines or of none. Lines of one product are added up, and answered as one
/// line. The units are held until they are confirmed or cancelled; what is still held when `ttl_ms` has
/// passed is available again from that millisecond on.
#[utoipa::path(
    post,
    path = "/inventory/reserve",
    operation_id = NewReservation::NAME,
    tag = "inventory",
    request_body = Reserve,
    responses((status = CREATED, body = Reservation, description = "The new reservation.")),
)]
pub async fn reserve(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Reserve>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
