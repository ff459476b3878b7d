use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// What a counter can have: whole numbers from -(2^53 - 1) to 2^53 - 1, which every client of JSON
/// reads exactly.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(try_from = "i64", into = "i64")]
#[schema(
    value_type = i64,
    minimum = -9_007_199_254_740_991_i64,
    maximum = 9_007_199_254_740_991_i64,
    example = 42
)]
pub struct Count(i64);

impl Count {
    /// The farthest from zero.
    pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

    /// A default that is known to be in range.
    pub const fn of(number: i32) -> Count {
        Count(number as i64)
    }

    /// As a number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Count {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Count, Invalid> {
        if !(-Count::MAX_SAFE_INTEGER..=Count::MAX_SAFE_INTEGER).contains(&number) {
            let detail = "A counter goes from -(2^53 - 1) to 2^53 - 1.";
            return Err(Invalid::new("counter_out_of_range", detail));
        }
        Ok(Count(number))
    }
}

impl From<Count> for i64 {
    fn from(count: Count) -> i64 {
        count.0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
