//! `GET /inventory/products/{product_id}/movements`: pages through the changes of a product's stock.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_product};
use crate::{
    api::{self, Answer, Caller, LogPage, LogPageQuery, LogRange, Path, Query},
    store::{Invocation, Operation, RedisValue, Store},
    types::{Code, Id, Timestamp},
};

/// One change of a product's stock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "RedisValue")]
#[schema(example = json!({
    "reason": "reserved",
    "on_hand_change": 0,
    "reserved_change": 2,
    "on_hand": 100,
    "reserved": 2,
    "actor": "carol",
    "reference": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Movement {
    /// Cause of the change: `initial` for the stock that the product was added with, the reason
    /// of an adjustment, or `reserved`, `sold`, `released` or `expired` for a reservation.
    pub reason: String,
    /// Units by which `on_hand` changed, below zero if they left: -10^12 to 10^12.
    pub on_hand_change: i64,
    /// Units by which `reserved` changed, below zero if they left: -10^12 to 10^12.
    pub reserved_change: i64,
    /// Units on hand right after the change: 0 to 10^12.
    pub on_hand: u64,
    /// Units reserved right after the change: 0 to `on_hand`.
    pub reserved: u64,
    /// Id of the key with which the call was made. Where the service had no keys: that of the customer for whom units
    /// were reserved, bought or released, and null for every other change.
    pub actor: Option<String>,
    /// Name that the key had then; missing where the service had no keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "checkout")]
    pub actor_name: Option<String>,
    /// Where `actor` is a key: id of the customer for whom units were reserved, bought or released; missing for every
    /// other change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<Id>,
    /// Id of the reservation, or the `reference` of the adjustment; null if there is none.
    pub reference: Option<String>,
    /// Moment of the change, by the clock of Redis. An expired reservation is written down by the next
    /// call that changes the product, with the moment at which it expired.
    pub created_at: Timestamp,
}

/// A page of the movements of a product, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Movements {
    /// Movements of this page, the newest first.
    pub movements: Vec<Movement>,
    /// True if the history reaches back to the addition of the product. A product keeps its newest
    /// movements, 10,000 at least where the service's configuration says nothing else.
    #[schema(example = true)]
    pub history_complete: bool,
    /// The `cursor` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "41")]
    pub next_cursor: Option<String>,
}

struct ListMovements {
    product_id: Id,
    range: LogRange,
}

#[derive(Debug, Deserialize)]
struct ListMovementsReply {
    /// Number of the last one of `movements`.
    newest: u64,
    /// Movements of the page, the oldest first.
    movements: Vec<Movement>,
    /// Number of movements that are not kept any more.
    trimmed: u64,
}

impl Operation for ListMovements {
    const NAME: &'static str = "inventory/movements";
    const CODES: &'static [Code] = CODES;
    type Reply = ListMovementsReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_product(invocation, &self.product_id).arg("product_id", &self.product_id);
        self.range.bind(invocation);
    }
}

impl ListMovementsReply {
    fn into_page(self, range: &LogRange) -> Movements {
        let LogPage { entries, next_cursor } = LogPage::new(range, self.newest, self.movements);
        Movements { movements: entries, history_complete: self.trimmed == 0, next_cursor }
    }
}

/// List the movements of a product
///
/// Answers a page of the changes of its stock, the newest first. Pages neither repeat nor miss a
/// movement while new ones arrive.
#[utoipa::path(
    get,
    path = "/inventory/products/{product_id}/movements",
    operation_id = ListMovements::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path, description = "Id of the product."), LogPageQuery),
    responses((status = OK, body = Movements, description = "The page of movements.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn movements(
    State(store): State<Store>,
    Query(page): Query<LogPageQuery>,
    Caller(context): Caller,
    Path(product_id): Path,
) -> api::Result<Movements> {
    let range = LogRange::new(page.limit, page.cursor.as_deref())?;
    let history = ListMovements { product_id, range };
    let completed = store.run(&history, &context).await?;
    Ok(Answer::ok(completed.map(|reply| reply.into_page(&history.range))))
}
