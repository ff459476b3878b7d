//! `GET /inventory/products/{product_id}`: answers a product and its stock. Here is also the product
//! as the other calls of this domain answer it.

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
    /// Id of the product, chosen by the caller who added it.
    pub product_id: Id,
    /// Name of the product, 1 to 200 characters.
    pub name: String,
    /// Description of the product, 0 to 1,000 characters; null if there is none.
    pub description: Option<String>,
    /// Price of one unit, zero or more.
    pub price: Money,
    /// Currency of the price: a code of ISO 4217, or one that the service's configuration
    /// declares.
    #[schema(value_type = Currency)]
    pub currency: String,
    /// Units in stock, those that are reserved included: 0 to 10^12.
    pub on_hand: u64,
    /// Units that are held by reservations: 0 to `on_hand`.
    pub reserved: u64,
    /// Units that can be reserved: `on_hand` less `reserved`.
    pub available: u64,
    /// Units that were sold since the product was added.
    pub sold: u64,
    /// The stock is low while fewer units than this are available, 1 to 10^12; null for never.
    pub low_stock: Option<u64>,
    /// The most units that one customer may have reserved and bought together, 1 to 10^12; null for
    /// no limit.
    pub max_per_customer: Option<u64>,
    /// The strings that a caller has attached to the product.
    pub metadata: Metadata,
    /// Version of the product, which is also the ETag. It is 1 at first, and every call that
    /// changes the product raises it by one. An expiry does not.
    pub version: u64,
    /// Moment at which the product was added, by the clock of Redis.
    pub created_at: Timestamp,
}

/// The reply of a script that answers one product.
#[derive(Debug, Deserialize)]
pub struct ProductReply {
    product: Product,
}

impl ProductReply {
    /// Makes the answer to the caller, with the version of the product as its ETag. `answer` chooses
    /// the status.
    pub fn answer(
        completed: Completed<ProductReply>,
        answer: fn(Completed<Product>) -> Answer<Product>,
    ) -> Answer<Product> {
        let answer = answer(completed.map(|reply| reply.product));
        let (version, reserved) = (answer.body().version, answer.body().reserved);
        answer.with_version(version, reserved)
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
/// Units of an expired reservation are available from the millisecond of its expiry on. The ETag is
/// the product's version.
#[utoipa::path(
    get,
    path = "/inventory/products/{product_id}",
    operation_id = GetProduct::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path, description = "Id of the product.")),
    responses((status = OK, body = Product, description = "The product.")),
)]
pub async fn get_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(product_id): Path,
) -> api::Result<Product> {
    Ok(ProductReply::answer(store.run(&GetProduct(product_id), &context).await?, Answer::ok))
}
