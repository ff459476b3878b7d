//! Durations that a caller chooses.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::{Invalid, integer_schema::integer_schema, limits::MAX_TTL_MS};

/// A duration of 1 to 2,592,000,000 milliseconds (30 days).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Ttl(i64);

impl Ttl {
    /// A default of the code, in milliseconds. The caller of this function keeps it in the range.
    pub const fn from_ms(ms: u32) -> Ttl {
        Ttl(ms as i64)
    }

    /// The duration in milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0.unsigned_abs()
    }
}

/// Fails with `validation_failed`.
impl TryFrom<i64> for Ttl {
    type Error = Invalid;

    fn try_from(ms: i64) -> Result<Ttl, Invalid> {
        if !(1..=MAX_TTL_MS).contains(&ms) {
            let detail = format!("A duration is 1 to {MAX_TTL_MS} milliseconds (30 days).");
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(Ttl(ms))
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialSchema for Ttl {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        integer_schema("A duration in milliseconds, at most 30 days.", 1..=MAX_TTL_MS, 30_000)
    }
}

impl ToSchema for Ttl {}
