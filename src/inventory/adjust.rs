//! `POST /inventory/adjust`: adds units to the stock of a product, or takes them out of it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_product, get_reservation::count_low_stock_change};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Stock, Text, enum_from_str, limits::MAX_QUANTITY},
};

/// A change of the units on hand of a product.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "product_id": "espresso-cup", "delta": 50, "reason": "received", "reference": "delivery 7"
}))]
pub struct Adjust {
    /// Id of the product.
    pub product_id: Id,
    /// Units to add, or to take out where it is below zero: -10^12 to 10^12, and not 0.
    #[schema(minimum = -1_000_000_000_000_i64, maximum = 1_000_000_000_000_i64)]
    pub delta: i64,
    /// Cause of the change, which the movement of the product keeps.
    #[serde(deserialize_with = "enum_from_str")]
    pub reason: Reason,
    /// The caller's reference for the change, such as the number of a delivery: 0 to 200 characters.
    #[schema(value_type = Option<String>, max_length = 200)]
    pub reference: Option<Text<0, 200>>,
    /// Units on hand that the caller knows of, 0 to 10^12. Where another number is on hand, the
    /// change is refused with `quantity_stale`.
    pub expected_on_hand: Option<Stock>,
}

/// The cause of an adjustment: units were `received` from a supplier, `returned` by a customer,
/// `damaged` or `lost`, another number was `counted`, or there was an `other` cause. The service
/// treats all of them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Reason {
    /// A supplier has delivered units.
    Received,
    /// A customer has brought units back.
    Returned,
    /// Units cannot be sold any more.
    Damaged,
    /// Units are missing.
    Lost,
    /// A count has found another number.
    Counted,
    /// Any other cause.
    Other,
}

/// The stock of a product after an adjustment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "product_id": "espresso-cup",
    "delta": 50,
    "reason": "received",
    "reference": "delivery 7",
    "previous_on_hand": 100,
    "on_hand": 150,
    "reserved": 2,
    "available": 148,
    "version": 3
}))]
pub struct Adjusted {
    /// Id of the product.
    pub product_id: Id,
    /// Units that were added, or taken out where it is below zero: -10^12 to 10^12.
    pub delta: i64,
    /// Cause that the request named.
    pub reason: Reason,
    /// Reference that the request named; null if it named none.
    pub reference: Option<String>,
    /// Units on hand before the change: 0 to 10^12.
    pub previous_on_hand: u64,
    /// Units on hand after the change: `reserved` to 10^12.
    pub on_hand: u64,
    /// Units that are held by reservations: 0 to `on_hand`.
    pub reserved: u64,
    /// Units that can be reserved after the change: `on_hand` less `reserved`.
    pub available: u64,
    /// Version of the product, which is also the ETag. Every call that changes the product
    /// raises it by one.
    pub version: u64,
    /// True if the stock was not low before and is low now, false if it was low and no longer is;
    /// missing if neither has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_stock: Option<bool>,
}

impl Operation for Adjust {
    const NAME: &'static str = "inventory/adjust";
    const CODES: &'static [Code] = CODES;
    type Reply = Adjusted;

    fn bind(&self, invocation: &mut Invocation) {
        let expected = self.expected_on_hand.map_or(String::new(), |units| units.to_string());
        bind_product(invocation, &self.product_id)
            .arg("product_id", &self.product_id)
            .arg("delta", self.delta)
            .arg("reason", self.reason)
            .arg("reference", Text::json(self.reference.as_ref()))
            .arg("expected_on_hand", expected);
    }
}

impl Command for Adjust {
    type Operation = Adjust;
    type Output = Adjusted;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Adjust, Problem> {
        if self.delta == 0 || !(-MAX_QUANTITY..=MAX_QUANTITY).contains(&self.delta) {
            let detail = "A delta is -10^12 to 10^12, and not zero.";
            return Err(Problem::validation("/delta", detail));
        }
        Ok(self)
    }

    fn answer(
        _: &Adjust,
        result: Result<Completed<Adjusted>, store::Error>,
    ) -> api::Result<Adjusted> {
        let completed = result?;
        if let Some(low) = completed.reply.low_stock {
            count_low_stock_change(low, completed.replayed);
        }
        let answer = Answer::ok(completed);
        let (version, reserved) = (answer.body().version, answer.body().reserved);
        Ok(answer.with_version(version, reserved))
    }
}

/// Change the units on hand
///
/// Adds units to the stock of a product, or takes them out of it. Fewer units than are reserved never
/// remain. Name `expected_on_hand` so that a count is not applied to stock that has changed meanwhile.
#[utoipa::path(
    post,
    path = "/inventory/adjust",
    operation_id = Adjust::NAME,
    tag = "inventory",
    request_body = Adjust,
    responses((status = OK, body = Adjusted, description = "The stock after the change.")),
)]
pub async fn adjust(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Adjust>,
) -> api::Result<Adjusted> {
    request.run(&store, &context).await
}
