use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// The most units of one product, on hand or in one line.
pub const MAX_UNITS: i64 = 1_000_000_000_000;

/// Units that move: 1 to 10^12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "i64")]
#[schema(value_type = u64, minimum = 1, maximum = 1_000_000_000_000_u64, example = 2)]
pub struct Quantity(i64);

/// Units on a shelf: 0 to 10^12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "i64")]
#[schema(value_type = u64, maximum = 1_000_000_000_000_u64, example = 100)]
pub struct Stock(i64);

impl Quantity {
    /// Both together; `None` past the most one line may have.
    pub fn plus(self, other: Quantity) -> Option<Quantity> {
        Quantity::try_from(self.0 + other.0).ok()
    }
}

impl TryFrom<i64> for Quantity {
    type Error = Invalid;

    fn try_from(units: i64) -> Result<Quantity, Invalid> {
        match units {
            1..=MAX_UNITS => Ok(Quantity(units)),
            ..=0 => Err(Invalid::new("quantity_not_positive", "A quantity is at least 1.")),
            _ => Err(Invalid::new("validation_failed", "A quantity is at most 10^12.")),
        }
    }
}

impl TryFrom<i64> for Stock {
    type Error = Invalid;

    fn try_from(units: i64) -> Result<Stock, Invalid> {
        if !(0..=MAX_UNITS).contains(&units) {
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
