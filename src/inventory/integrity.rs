//! `GET /inventory/integrity`: recomputes the stock of products from what has changed it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_products};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Listed, Page, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id},
};

/// A page of products whose stock was recomputed.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockIntegrity {
    /// True if the stock of every product of this page is right.
    #[schema(example = true)]
    pub ok: bool,
    /// Products of this page, in the order of their ids.
    pub products: Vec<CheckedProduct>,
    /// The `cursor` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "espresso-cup")]
    pub next_cursor: Option<String>,
}

/// The stock of one product, and whether it is right.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckedProduct {
    /// Id of the product.
    pub product_id: Id,
    /// Units in stock, those that are reserved included: 0 to 10^12. Missing without a readable record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 100)]
    pub on_hand: Option<u64>,
    /// Units that are held by reservations: 0 to `on_hand`. Missing without a readable record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 2)]
    pub reserved: Option<u64>,
    /// Units that were sold since the product was added. Missing without a readable record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    pub sold: Option<u64>,
    /// True if `on_hand` is the initial stock with all adjustments, less `sold`, `reserved` is what its
    /// open reservations hold together, and no movements are lost. Of a product with more than 2,000
    /// open reservations their sum is not checked.
    pub ok: bool,
    /// The reason why `ok` is false; missing where it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<ProductDamage>,
}

/// What is wrong with a product: `missing` if it has no record, `unreadable` if a key of it cannot be read,
/// `stock` if its units are not what the changes add up to, `holds` if the reserved ones are not what its
/// reservations hold, and `movements` if its log has lost some.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductDamage {
    /// It has no record, although it was added.
    Missing,
    /// Its record, or another key of it, cannot be read.
    Unreadable,
    /// Its units on hand are not what the changes to it add up to.
    Stock,
    /// Its reserved units are not what its open reservations hold together.
    Holds,
    /// Its log has lost movements.
    Movements,
}

struct CheckStock(ScanStep);

impl Operation for CheckStock {
    const NAME: &'static str = "inventory/integrity";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<CheckedProduct>;

    fn bind(&self, invocation: &mut Invocation) {
        bind_products(invocation, &self.0);
    }
}

impl Listed for CheckedProduct {
    fn id(&self) -> &str {
        self.product_id.as_str()
    }
}

/// Check the stock
///
/// Recomputes the units on hand of each product from the changes that were made to it, and the
/// reserved units from the reservations that hold them. Each product is checked as it is at one
/// moment; products of one page are not all checked at the same moment.
#[utoipa::path(
    get,
    path = "/inventory/integrity",
    operation_id = CheckStock::NAME,
    tag = "inventory",
    params(Page),
    responses((status = OK, body = StockIntegrity, description = "The page of checked products.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn integrity(
    State(store): State<Store>,
    Query(page): Query<Page>,
    Caller(context): Caller,
) -> api::Result<StockIntegrity> {
    let scan = KeysetScan::new(page.limit, page.cursor)?;
    let list = scan.page(&store, &context, CheckStock, |_| true).await?;
    let ok = list.items.iter().all(|product| product.ok);
    let reply = StockIntegrity { ok, products: list.items, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
