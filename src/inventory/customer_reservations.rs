use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, Reservation};
use crate::{
    api::{self, Answer, Caller, Page, Path, Query},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id},
};

/// Reservations of a customer, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reservations {
    pub reservations: Vec<Reservation>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "res_0199f6c28f7a7c319d4e52a1b7f0c6aa")]
    pub next_cursor: Option<String>,
}

/// A step of a walk through a customer's reservations, as through a space's accounts.
struct ListPage<'a> {
    customer_id: &'a Id,
    named: &'a [Id],
    before: Option<&'a Id>,
    count: u64,
}

#[derive(Debug, Deserialize)]
struct ListReply {
    reservations: Vec<Reservation>,
    next: Vec<Id>,
}

impl Operation for ListPage<'_> {
    const NAME: &'static str = "inventory/customer_reservations";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("customer_key", "reservations", self.customer_id);
        for id in self.named {
            invocation.key("reservation_key", "reservation", id);
        }
        invocation.arg("before", self.before.map_or("", Id::as_str)).arg("count", self.count);
    }
}

/// List the reservations of a customer
///
/// Newest first, those that have ended among them for as long as they are remembered.
#[utoipa::path(
    get,
    path = "/inventory/customers/{customer_id}/reservations",
    operation_id = ListPage::NAME,
    tag = "inventory",
    params(("customer_id" = Id, Path), Page),
    responses((status = OK, body = Reservations, description = "One page.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn customer_reservations(
    State(store): State<Store>,
    Query(page): Query<Page>,
    Caller(context): Caller,
    Path(customer_id): Path,
) -> api::Result<Reservations> {
    api::page_limit(page.limit)?;
    let cursor = api::id_cursor(page.cursor)?;
    let customer_id = &customer_id;
    let names = ListPage { customer_id, named: &[], before: cursor.as_ref(), count: page.limit };
    let named = store.run(&names, &context).await?.reply.next;
    let before = named.last();
    let tells = ListPage { customer_id, named: &named, before, count: 1 };
    let ListReply { reservations, next } = match before {
        Some(_) => store.run(&tells, &context).await?.reply,
        None => ListReply { reservations: Vec::new(), next: Vec::new() },
    };
    let next_cursor = before.filter(|_| !next.is_empty()).map(Id::to_string);
    let reply = Reservations { reservations, next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
