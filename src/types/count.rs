//! The value of a counter.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::{Invalid, integer_schema::integer_schema, limits::MAX_SAFE_INTEGER};

/// The value of a counter, or a step of it: a whole number from -(2^53 - 1) to 2^53 - 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Count(i64);

impl Count {
    /// A constant of the code; every `i32` is in the range.
    pub const fn of(number: i32) -> Count {
        Count(number as i64)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// Fails with `counter_out_of_range`.
impl TryFrom<i64> for Count {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Count, Invalid> {
        if !(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number) {
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

impl PartialSchema for Count {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        let description = "A whole number from -(2^53 - 1) to 2^53 - 1, the range that every JSON \
                           client reads exactly.";
        integer_schema(description, -MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER, 42)
    }
}

impl ToSchema for Count {}
