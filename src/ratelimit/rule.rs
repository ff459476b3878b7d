//! The rules of a rate limit, checked and reduced to whole numbers. `check` makes them of a request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Invalid, Ttl, limits::MAX_SAFE_INTEGER};

/// The most parts of a full bucket. Lua counts exactly up to this number.
const MAX_PARTS: u64 = MAX_SAFE_INTEGER.unsigned_abs();

/// The longest time that an empty bucket can take to fill, about 317 years.
const MAX_WAIT_MS: u64 = 10_000_000_000_000;

/// An algorithm that limits a rate. `token_bucket` allows bursts of up to `capacity` and refills it
/// evenly over time; `sliding_window` allows at most `limit` in any period of `window_ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// A full bucket has `capacity` tokens, and `refill_tokens` come back evenly over every
    /// `refill_interval_ms`.
    #[default]
    TokenBucket,
    /// At most `limit` are admitted in any period of `window_ms`; every admission is logged, so the
    /// count is exact.
    SlidingWindow,
}

/// A rule whose values have been checked, in the numbers that the script counts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A bucket that counts in parts of a token, so that every millisecond refills a whole number of
    /// parts and nothing is ever rounded.
    TokenBucket {
        /// Tokens in a full bucket.
        capacity: u64,
        /// Number of parts of one token.
        per_token: u64,
        /// Number of parts that come back in one millisecond.
        per_ms: u64,
    },
    /// A window that keeps one entry for each admission.
    SlidingWindow {
        /// The most units in any window.
        limit: u64,
        /// Length of the window in milliseconds.
        window_ms: u64,
    },
}

impl Rule {
    /// Makes a bucket of a refill rate. The fraction `refill_tokens / interval` is reduced to lowest
    /// terms and never rounded.
    ///
    /// # Errors
    ///
    /// `validation_failed` if a number is 0, or too large to be counted exactly.
    pub fn token_bucket(capacity: u64, refill_tokens: u64, interval: Ttl) -> Result<Rule, Invalid> {
        let invalid = |detail: &str| Err(Invalid::new("validation_failed", detail));
        if capacity == 0 || refill_tokens == 0 {
            return invalid("A bucket has a capacity and a refill of at least 1.");
        }
        let common = greatest_common_divisor(refill_tokens, interval.as_ms());
        let (per_token, per_ms) = (interval.as_ms() / common, refill_tokens / common);
        match capacity.checked_mul(per_token) {
            Some(parts) if parts <= MAX_PARTS && per_ms <= MAX_PARTS => {
                if parts / per_ms > MAX_WAIT_MS {
                    return invalid("This bucket would take more than 10^13 ms to fill.");
                }
                Ok(Rule::TokenBucket { capacity, per_token, per_ms })
            }
            _ => invalid("capacity times refill_interval_ms is at most 2^53 - 1."),
        }
    }

    /// Makes a window.
    ///
    /// # Errors
    ///
    /// `validation_failed` if the limit is not 1 to 10,000: the log has one entry per admission.
    pub fn sliding_window(limit: u64, window: Ttl) -> Result<Rule, Invalid> {
        if !(1..=10_000).contains(&limit) {
            let detail = "The limit of a sliding window is 1 to 10000.";
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(Rule::SlidingWindow { limit, window_ms: window.as_ms() })
    }

    /// Returns the most units that one check can take.
    pub fn limit(self) -> u64 {
        match self {
            Rule::TokenBucket { capacity: limit, .. } | Rule::SlidingWindow { limit, .. } => limit,
        }
    }

    /// Returns the seconds, rounded up, after which a used-up limit is whole again: the parameter `w`
    /// of the header `RateLimit-Policy`.
    pub fn window_seconds(self) -> u64 {
        let ms = match self {
            Rule::TokenBucket { capacity, per_token, per_ms } => {
                (capacity * per_token).div_ceil(per_ms)
            }
            Rule::SlidingWindow { window_ms, .. } => window_ms,
        };
        ms.div_ceil(1000)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_loses_no_fraction() {
        let rule = Rule::token_bucket(10, 6, Ttl::from_ms(1000)).unwrap();
        assert_eq!(rule, Rule::TokenBucket { capacity: 10, per_token: 500, per_ms: 3 });
        assert_eq!(rule.window_seconds(), 2);
    }

    #[test]
    fn rules_that_could_not_be_exact_are_refused() {
        let day = Ttl::from_ms(86_400_000);
        assert!(Rule::token_bucket(1 << 53, 1, day).is_err());
        assert!(Rule::token_bucket(0, 1, day).is_err());
        assert!(Rule::token_bucket(1, 0, day).is_err());
        assert!(Rule::token_bucket(1_000_000, 1, day).is_err());
        assert!(Rule::sliding_window(10_001, day).is_err());
    }
}
