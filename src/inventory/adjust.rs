use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, bind_product, get_reservation::count_crossing};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, Invalid, Stock, Text, enum_from_str},
};

/// A change of what is on hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "product_id": "espresso-cup", "delta": 50, "reason": "received", "reference": "delivery 7"
}))]
pub struct Adjust {
    pub product_id: Id,
    /// Units that come, or go where it is below zero.
    #[schema(minimum = -1_000_000_000_000_i64, maximum = 1_000_000_000_000_i64)]
    pub delta: i64,
    #[serde(deserialize_with = "enum_from_str")]
    pub reason: Reason,
    /// What it goes back to, in the caller's words.
    pub reference: Option<Text<0, 200>>,
    /// Refuse if another number is on hand.
    pub expected_on_hand: Option<Stock>,
}

/// Why stock changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Reason {
    Received,
    Returned,
    Damaged,
    Lost,
    Counted,
    Other,
}

/// A product's stock after a change.
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
    pub product_id: Id,
    pub delta: i64,
    pub reason: Reason,
    pub reference: Option<String>,
    pub previous_on_hand: u64,
    pub on_hand: u64,
    pub reserved: u64,
    pub available: u64,
    /// Counts the changes by calls; also the ETag.
    pub version: u64,
    /// True where this call made the stock low, false where it made it rise again; missing where it
    /// did neither.
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
        if self.delta == 0 || self.delta.unsigned_abs() > 1_000_000_000_000 {
            let detail = "A delta is -10^12 to 10^12, and not zero.";
            return Err(Problem::invalid(&Invalid::new("validation_failed", detail), "/delta"));
        }
        Ok(self)
    }

    fn answer(
        _: &Adjust,
        result: Result<Completed<Adjusted>, store::Error>,
    ) -> api::Result<Adjusted> {
        let done = result?;
        if let Some(low) = done.reply.low_stock {
            count_crossing(low, done.replayed);
        }
        let answer = Answer::ok(done);
        let version = answer.body().version;
        Ok(answer.with_version(version))
    }
}

/// Change what is on hand
///
/// Never below what is reserved. With `expected_on_hand` it is refused when somebody else was
/// faster, so that a count is not applied twice.
#[utoipa::path(
    post,
    path = "/inventory/adjust",
    operation_id = Adjust::NAME,
    tag = "inventory",
    request_body = Adjust,
    responses((status = OK, body = Adjusted, description = "The stock has changed.")),
)]
pub async fn adjust(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Adjust>,
) -> api::Result<Adjusted> {
    request.run(&store, &context).await
}
