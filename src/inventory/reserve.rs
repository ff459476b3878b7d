use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Reservation, ReservationReply, bind_product, get_reservation::allowance};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Code, Id, Invalid, Quantity, Ttl},
};

/// The most lines of one reservation.
const MAX_LINES: usize = 100;

/// Units to set aside: `lines`, or one `product_id` with its `quantity`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "customer_id": "carol",
    "lines": [{ "product_id": "espresso-cup", "quantity": 2 }],
    "ttl_ms": 300_000
}))]
pub struct Reserve {
    pub customer_id: Id,
    /// All of them are reserved or none is.
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Option<Vec<Line>>,
    /// The one product, where there are no `lines`.
    pub product_id: Option<Id>,
    /// Its units, where there are no `lines`.
    pub quantity: Option<Quantity>,
    /// How long the units are held.
    #[serde(default = "Reserve::default_ttl")]
    #[schema(default = 300_000)]
    pub ttl_ms: Ttl,
}

/// Units of one product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub product_id: Id,
    pub quantity: Quantity,
}

/// The same, with each product once.
pub struct ReserveRequest {
    customer_id: Id,
    lines: Vec<Line>,
    ttl_ms: Ttl,
    reservation_id: GeneratedId,
}

impl Reserve {
    fn default_ttl() -> Ttl {
        Ttl::from_ms(300_000)
    }
}

fn refuse(detail: &str, pointer: &str) -> Problem {
    Problem::invalid(&Invalid::new("validation_failed", detail), pointer)
}

/// Each product once: two lines of one product count together, or both could pass where only one may.
///
/// # Errors
///
/// Where there are too many or too few of them.
pub fn merged(given: Vec<Line>) -> Result<Vec<Line>, Problem> {
    if given.is_empty() || given.len() > MAX_LINES {
        return Err(refuse("There are 1 to 100 lines.", "/lines"));
    }
    let mut lines: Vec<Line> = Vec::with_capacity(given.len());
    for (index, line) in given.into_iter().enumerate() {
        match lines.iter_mut().find(|known| known.product_id == line.product_id) {
            None => lines.push(line),
            Some(known) => {
                known.quantity = known.quantity.plus(line.quantity).ok_or_else(|| {
                    let pointer = format!("/lines/{index}/quantity");
                    refuse("A quantity is at most 10^12.", &pointer)
                })?;
            }
        }
    }
    Ok(lines)
}

impl TryFrom<Reserve> for ReserveRequest {
    type Error = Problem;

    fn try_from(request: Reserve) -> Result<ReserveRequest, Problem> {
        let given = match (request.lines, request.product_id, request.quantity) {
            (Some(lines), None, None) => lines,
            (None, Some(product_id), Some(quantity)) => vec![Line { product_id, quantity }],
            _ => return Err(refuse("Give either lines, or product_id and quantity.", "")),
        };
        Ok(ReserveRequest {
            customer_id: request.customer_id,
            lines: merged(given)?,
            ttl_ms: request.ttl_ms,
            reservation_id: GeneratedId::new("res_"),
        })
    }
}

impl Operation for ReserveRequest {
    const NAME: &'static str = "inventory/reserve";
    const CODES: &'static [Code] = CODES;
    type Reply = ReservationReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .generated_key("reservation_key", "reservation", self.reservation_id)
            .key("customer_key", "reservations", &self.customer_id)
            .generated_id("reservation_id", self.reservation_id)
            .arg("customer_id", &self.customer_id)
            .arg("ttl_ms", self.ttl_ms);
        for Line { product_id, quantity } in &self.lines {
            bind_product(invocation, product_id)
                .key("allowance_key", "allowance", allowance(&self.customer_id, product_id))
                .arg("product_id", product_id)
                .arg("quantity", quantity);
        }
    }
}

impl Command for Reserve {
    type Operation = ReserveRequest;
    type Output = Reservation;

    async fn prepare(self, _: &Store, _: &Context) -> Result<ReserveRequest, Problem> {
        ReserveRequest::try_from(self)
    }

    fn answer(
        _: &ReserveRequest,
        result: Result<Completed<ReservationReply>, store::Error>,
    ) -> api::Result<Reservation> {
        Ok(Answer::created(ReservationReply::changed(result?)))
    }
}

/// Reserve units
///
/// All lines or none; lines of one product are counted together and answered as one. When `ttl_ms`
/// has passed the units are available again at that millisecond.
#[utoipa::path(
    post,
    path = "/inventory/reserve",
    operation_id = ReserveRequest::NAME,
    tag = "inventory",
    request_body = Reserve,
    responses((status = CREATED, body = Reservation, description = "The units are set aside.")),
)]
pub async fn reserve(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Reserve>,
) -> api::Result<Reservation> {
    request.run(&store, &context).await
}
