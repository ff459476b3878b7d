use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_product};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Currency, Id, Metadata, Money, Timestamp},
};

struct GetProduct(Id);

/// A product and its stock, in units.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "product_id": "espresso-cup",
    "name": "Espresso cup",
    "description": null,
    "price": "7.90",
    "currency": "USD",
    "on_hand": 100,
    "reserved": 2,
    "available": 98,
    "sold": 0,
    "low_stock": 10,
    "max_per_customer": null,
    "metadata": {},
    "version": 2,
    "created_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Product {
    /// What the caller calls the product.
    pub product_id: Id,
    /// For people.
    pub name: String,
    /// The caller's words.
    pub description: Option<String>,
    /// Of one unit.
    pub price: Money,
    /// What its price is in.
    #[schema(value_type = Currency)]
    pub currency: String,
    /// What is on the shelf.
    pub on_hand: u64,
    /// What of it is promised.
    pub reserved: u64,
    /// What can be reserved: on hand less reserved.
    pub available: u64,
    /// What has been sold in all.
    pub sold: u64,
    /// The stock is low while fewer units than this are available; null for never.
    pub low_stock: Option<u64>,
    /// The most units that one customer may have reserved and bought; null for no limit.
    pub max_per_customer: Option<u64>,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// Counts the changes by calls; also the ETag.
    pub version: u64,
    /// When, on Redis' clock.
    pub created_at: Timestamp,
}

/// What a script tells of one product.
#[derive(Debug, Deserialize)]
pub struct ProductReply {
    product: Product,
}

impl ProductReply {
    /// The product as it is answered, with its version as the ETag.
    pub fn answer(
        done: Completed<ProductReply>,
        answer: fn(Completed<Product>) -> Answer<Product>,
    ) -> Answer<Product> {
        let answer = answer(done.map(|reply| reply.product));
        let version = answer.body().version;
        answer.with_version(version)
    }
}

impl Operation for GetProduct {
    const NAME: &'static str = "inventory/get_product";
    const CODES: &'static [Code] = CODES;
    type Reply = ProductReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_product(invocation, &self.0).arg("product_id", &self.0);
    }
}

/// Get a product and its stock
///
/// Units of reservations whose time is up count as available from that millisecond on. The ETag is
/// the version.
#[utoipa::path(
    get,
    path = "/inventory/products/{product_id}",
    operation_id = GetProduct::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path)),
    responses((status = OK, body = Product, description = "The product.")),
)]
pub async fn get_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(product_id): Path,
) -> api::Result<Product> {
    Ok(ProductReply::answer(store.run(&GetProduct(product_id), &context).await?, Answer::ok))
}
