//! Stock that is never sold twice: units are reserved, and come back by themselves when time is up.

mod add_product;
mod adjust;
mod get_product;
mod get_reservation;
mod reserve;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    store::{Call, Store},
    types::{Code, Currency, Id, Instant, Metadata, Money},
};

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(add_product::add_product))
        .routes(routes!(get_product::get_product))
        .routes(routes!(adjust::adjust))
        .routes(routes!(reserve::reserve))
        .routes(routes!(get_reservation::get_reservation))
}

/// Why stock says no.
pub const CODES: &[Code] = &[
    Code {
        code: "product_exists",
        status: 409,
        title: "Product exists",
        says: "There is a product {product_id} already.",
        explanation: "A product of this id has been added to this space before. It was not changed.",
        retryable: false,
    },
    Code {
        code: "product_not_found",
        status: 404,
        title: "No such product",
        says: "There is no product {product_id}.",
        explanation: "The space has no product of this id. Add it with POST /inventory/products.",
        retryable: false,
    },
    Code {
        code: "quantity_stale",
        status: 412,
        title: "Stock has changed",
        says: "{on_hand} units of {product_id} are on hand, not {expected_on_hand}.",
        explanation: "The change was made for another number on hand than there is. Look again, and \
                      decide anew.",
        retryable: false,
    },
    Code {
        code: "stock_below_reserved",
        status: 409,
        title: "Units are reserved",
        says: "{on_hand} units of {product_id} are on hand and {reserved} are reserved: {delta} is too much.",
        explanation: "Reserved units are promised to somebody. Nothing was changed.",
        retryable: false,
    },
    Code {
        code: "stock_out_of_range",
        status: 422,
        title: "Too many units",
        says: "{on_hand} units of {product_id} are on hand and {delta} come: the most is {max_on_hand}.",
        explanation: "A product has at most 10^12 units on hand.",
        retryable: false,
    },
    Code {
        code: "insufficient_stock",
        status: 409,
        title: "Not enough units",
        says: "{shortages/0/available} units of {shortages/0/product_id} are available, and {shortages/0/requested} are requested.",
        explanation: "`shortages` lists every product that is short, with what was requested and what \
                      is available. Nothing was reserved of the others either.",
        retryable: false,
    },
    Code {
        code: "reservation_not_found",
        status: 404,
        title: "No such reservation",
        says: "There is no reservation {reservation_id}.",
        explanation: "The space has no reservation of this id, or it ended more than 7 days ago.",
        retryable: false,
    },
];

/// The key of a product and that of the holds on it.
fn bind_product<'a>(call: &'a mut Call, id: &Id) -> &'a mut Call {
    call.key("product_key", "product", id).key("holds_key", "holds", id)
}

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
    /// What its amounts are in.
    pub currency: Currency,
    /// What is on the shelf.
    pub on_hand: u64,
    /// What of it is promised.
    pub reserved: u64,
    /// What can be reserved: on hand less reserved.
    pub available: u64,
    /// What has been sold in all.
    pub sold: u64,
    /// The caller's own notes.
    pub metadata: Metadata,
    /// Counts the changes; also the ETag.
    pub version: u64,
    /// When, on Redis' clock.
    pub created_at: Instant,
}

/// Units that are set aside for a customer for a while.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "reservation_id": "res_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "customer_id": "carol",
    "status": "held",
    "lines": [{ "product_id": "espresso-cup", "quantity": 2, "remaining": 98 }],
    "created_at": "2026-01-31T12:00:00.000Z",
    "expires_at": "2026-01-31T12:05:00.000Z"
}))]
pub struct Reservation {
    /// Minted by the service.
    pub reservation_id: String,
    /// For whom.
    pub customer_id: Id,
    /// How it stands.
    pub status: ReservationStatus,
    /// What it holds, each product once.
    pub lines: Vec<ReservedLine>,
    /// When, on Redis' clock.
    pub created_at: Instant,
    /// When it is over, from that millisecond on.
    pub expires_at: Instant,
}

/// How a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReservationStatus {
    /// The units are set aside.
    Held,
    /// Its time was up, and the units are free again.
    Expired,
}

/// Units of one product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReservedLine {
    /// What the caller calls the product.
    pub product_id: Id,
    /// Units.
    pub quantity: u64,
    /// What was still available right after.
    pub remaining: u64,
}
