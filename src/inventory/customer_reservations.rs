//! `GET /inventory/customers/{customer_id}/reservations`: lists the reservations of a customer.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{CODES, Reservation};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Listed, Page, Path, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A page of the reservations of a customer, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reservations {
    /// Reservations, the newest first.
    pub reservations: Vec<Reservation>,
    /// The `cursor` of the next page; missing on the last one. A page may have fewer reservations
    /// than its limit, or none, and still have a next one: those that ended more than 7 days ago are
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "res_0199f6c28f7a7c319d4e52a1b7f0c6aa")]
    pub next_cursor: Option<String>,
}

struct ListReservations<'a> {
    customer_id: &'a Id,
    step: ScanStep,
}

impl Operation for ListReservations<'_> {
    const NAME: &'static str = "inventory/customer_reservations";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<Reservation>;

    fn bind(&self, invocation: &mut Invocation) {
        let ListReservations { customer_id, step } = self;
        invocation.key("customer_key", "reservations", customer_id);
        for id in &step.ids {
            invocation.key("reservation_key", "reservation", id);
        }
        // The list runs from the newest to the oldest, so the next ids stand before the last one.
        invocation.arg("before", step.after()).arg("count", step.count);
    }
}

impl Listed for Reservation {
    fn id(&self) -> &str {
        &self.reservation_id
    }
}

/// List the reservations of a customer
///
/// Answers a page of them, the newest first. A reservation that has ended is listed for 7 days more.
/// The newest reservations of a customer are kept in the list, 10,000 at least where the service's
/// configuration says nothing else.
#[utoipa::path(
    get,
    path = "/inventory/customers/{customer_id}/reservations",
    operation_id = ListReservations::NAME,
    tag = "inventory",
    params(("customer_id" = Id, Path, description = "Id of the customer."), Page),
    responses((status = OK, body = Reservations, description = "The page of reservations.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn customer_reservations(
    State(store): State<Store>,
    Query(page): Query<Page>,
    Caller(context): Caller,
    Path(customer_id): Path,
) -> api::Result<Reservations> {
    let scan = KeysetScan::new(page.limit, page.cursor)?;
    let operation = |step| ListReservations { customer_id: &customer_id, step };
    let list = scan.page(&store, &context, operation, |_| true).await?;
    let reply = Reservations { reservations: list.items, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
