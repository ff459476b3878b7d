use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_product};
use crate::{
    api::{self, Answer, Caller, Page, Query},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id},
};

/// The stock of products, recomputed.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockIntegrity {
    /// Whether all of this page are.
    #[schema(example = true)]
    pub ok: bool,
    pub products: Vec<CheckedProduct>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "espresso-cup")]
    pub next_cursor: Option<String>,
}

/// The stock of one product, recomputed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckedProduct {
    pub product_id: Id,
    #[schema(example = 100)]
    pub on_hand: u64,
    #[schema(example = 2)]
    pub reserved: u64,
    #[schema(example = 0)]
    pub sold: u64,
    /// Whether what is on hand is the initial stock with all adjustments, less what was sold, and what
    /// is reserved is the sum of the live holds. Of more than 2,000 holds the sum is not taken.
    pub ok: bool,
}

/// A step of a walk through the products of a space, as the list takes it.
struct Check<'a> {
    named: &'a [Id],
    after: Option<&'a Id>,
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Checked {
    products: Vec<CheckedProduct>,
    next: Vec<Id>,
}

impl Operation for Check<'_> {
    const NAME: &'static str = "inventory/integrity";
    const CODES: &'static [Code] = CODES;
    type Reply = Checked;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("index_key", "index", "products");
        for id in self.named {
            bind_product(invocation, id);
        }
        invocation.arg("after", self.after.map_or("", Id::as_str)).arg("count", self.count);
        for id in self.named {
            invocation.arg("product_id", id);
        }
    }
}

/// Check the stock
///
/// Recomputes each product from what has changed it, and what is reserved from the live holds. Each
/// product is checked at one moment.
#[utoipa::path(
    get,
    path = "/inventory/integrity",
    operation_id = Check::NAME,
    tag = "inventory",
    params(Page),
    responses((status = OK, body = StockIntegrity, description = "One page.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn integrity(
    State(store): State<Store>,
    Query(page): Query<Page>,
    Caller(context): Caller,
) -> api::Result<StockIntegrity> {
    api::page_limit(page.limit)?;
    let cursor = api::id_cursor(page.cursor)?;
    let names = Check { named: &[], after: cursor.as_ref(), count: page.limit };
    let named = store.run(&names, &context).await?.reply.next;
    let after = named.last();
    let tells = Check { named: &named, after, count: 1 };
    let Checked { products, next } = match after {
        Some(_) => store.run(&tells, &context).await?.reply,
        None => Checked { products: Vec::new(), next: Vec::new() },
    };
    let next_cursor = after.filter(|_| !next.is_empty()).map(Id::to_string);
    let ok = products.iter().all(|product| product.ok);
    let reply = StockIntegrity { ok, products, next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
