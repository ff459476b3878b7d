//! Numbers of units of a product.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::{Invalid, integer_schema::integer_schema, limits::MAX_QUANTITY};

/// Units that move or are reserved: 1 to 10^12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Quantity(i64);

/// Units on hand: 0 to 10^12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Stock(i64);

impl Quantity {
    /// The number of units.
    pub fn units(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// The sum; `None` if it exceeds 10^12.
    pub fn plus(self, other: Quantity) -> Option<Quantity> {
        Quantity::try_from(self.0 + other.0).ok()
    }
}

/// Fails with `quantity_not_positive`, or `validation_failed` above 10^12.
impl TryFrom<i64> for Quantity {
    type Error = Invalid;

    fn try_from(units: i64) -> Result<Quantity, Invalid> {
        match units {
            1..=MAX_QUANTITY => Ok(Quantity(units)),
            ..=0 => Err(Invalid::new("quantity_not_positive", "A quantity is at least 1.")),
            _ => Err(Invalid::new("validation_failed", "A quantity is at most 10^12.")),
        }
    }
}

/// Fails with `validation_failed`.
impl TryFrom<i64> for Stock {
    type Error = Invalid;

    fn try_from(units: i64) -> Result<Stock, Invalid> {
        if !(0..=MAX_QUANTITY).contains(&units) {
            return Err(Invalid::new("validation_failed", "Units on hand are 0 to 10^12."));
        }
        Ok(Stock(units))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialSchema for Quantity {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        integer_schema("A number of units, 1 to 10^12.", 1..=MAX_QUANTITY, 2)
    }
}

impl ToSchema for Quantity {}

impl PartialSchema for Stock {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        integer_schema("A number of units on hand, 0 to 10^12.", 0..=MAX_QUANTITY, 100)
    }
}

impl ToSchema for Stock {}
