use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// How long something lasts: 1 to 2,592,000,000 ms, which is 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "i64")]
#[schema(value_type = u64, minimum = 1, maximum = 2_592_000_000_u64, example = 30_000)]
pub struct Ttl(i64);

impl Ttl {
    /// The longest one.
    pub const MAX_MS: i64 = 30 * 24 * 3600 * 1000;

    /// A default that is known to be in range.
    pub const fn from_ms(ms: u32) -> Ttl {
        Ttl(ms as i64)
    }

    /// In milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl TryFrom<i64> for Ttl {
    type Error = Invalid;

    fn try_from(ms: i64) -> Result<Ttl, Invalid> {
        if !(1..=Ttl::MAX_MS).contains(&ms) {
            let detail = "A duration is 1 to 2592000000 milliseconds (30 days).";
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
