//! Fencing tokens as callers give them back.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::{Invalid, integer_schema::integer_schema, limits::MAX_SAFE_INTEGER};

/// The fencing token of a lease: a whole number from 1 to 2^53 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct FencingToken(i64);

/// Fails with `validation_failed`.
impl TryFrom<i64> for FencingToken {
    type Error = Invalid;

    fn try_from(token: i64) -> Result<FencingToken, Invalid> {
        if !(1..=MAX_SAFE_INTEGER).contains(&token) {
            let detail = "A fencing token is a whole number from 1 to 2^53 - 1.";
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(FencingToken(token))
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialSchema for FencingToken {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        let example = 1_769_860_800_000_000;
        integer_schema("The fencing token of a lease.", 1..=MAX_SAFE_INTEGER, example)
    }
}

impl ToSchema for FencingToken {}
