use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_product};
use crate::{
    api::{self, Answer, Caller, Page, Path, Query},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Timestamp},
};

/// A change of a product's stock.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
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
    /// What changed it: `initial`, a reason of an adjustment, `reserved`, `sold`, `released` or
    /// `expired`.
    pub reason: String,
    pub on_hand_change: i64,
    pub reserved_change: i64,
    /// On hand right after.
    pub on_hand: u64,
    /// Reserved right after.
    pub reserved: u64,
    /// The customer, where one was the cause.
    pub actor: Option<Id>,
    /// The reservation, or what an adjustment goes back to.
    pub reference: Option<String>,
    /// When, on Redis' clock. An expiry is written by the next call that changes the product, with
    /// the instant at which it happened.
    pub created_at: Timestamp,
}

/// Movements of a product, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Movements {
    pub movements: Vec<Movement>,
    /// Whether the history reaches back to the product's beginning. A product keeps its newest
    /// movements, 10,000 at least where the service's configuration says nothing else.
    #[schema(example = true)]
    pub history_complete: bool,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "41")]
    pub next_cursor: Option<String>,
}

struct History {
    product_id: Id,
    newest: Option<u64>,
    /// One more than the page has, to see whether there is more.
    limit: u64,
}

/// What the script answers: the movements in their order, and the number of the newest of them.
#[derive(Debug, Deserialize)]
struct Logged {
    newest: u64,
    movements: Vec<Movement>,
    trimmed: u64,
}

impl Operation for History {
    const NAME: &'static str = "inventory/movements";
    const CODES: &'static [Code] = CODES;
    type Reply = Logged;

    fn bind(&self, invocation: &mut Invocation) {
        bind_product(invocation, &self.product_id)
            .arg("product_id", &self.product_id)
            .arg("newest", self.newest.map_or(String::new(), |newest| newest.to_string()))
            .arg("limit", self.limit);
    }
}

/// List the movements of a product
///
/// Every change of its stock, newest first. Pages neither repeat nor miss one while new ones arrive.
#[utoipa::path(
    get,
    path = "/inventory/products/{product_id}/movements",
    operation_id = History::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path), Page),
    responses((status = OK, body = Movements, description = "One page.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn movements(
    State(store): State<Store>,
    Query(page): Query<Page>,
    Caller(context): Caller,
    Path(product_id): Path,
) -> api::Result<Movements> {
    api::page_limit(page.limit)?;
    let newest = api::number_cursor(page.cursor.as_deref())?;
    let history = History { product_id, newest, limit: page.limit + 1 };
    let done = store.run(&history, &context).await?;
    Ok(Answer::ok(done.map(|logged| logged.into_page(page.limit))))
}

impl Logged {
    fn into_page(mut self, limit: u64) -> Movements {
        self.movements.reverse();
        let more = self.movements.len() as u64 > limit;
        if more {
            self.movements.pop();
        }
        Movements {
            movements: self.movements,
            history_complete: self.trimmed == 0,
            next_cursor: more.then(|| (self.newest - limit).to_string()),
        }
    }
}
