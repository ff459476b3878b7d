use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Invalid, Ttl};

/// The most a double counts exactly, and so the finest a bucket can be: 2^53 - 1.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// No wait may be longer: about 317 years.
const MAX_WAIT_MS: u64 = 10_000_000_000_000;

/// The algorithms of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// `capacity` tokens at once; `refill_tokens` come back evenly over every `refill_interval_ms`.
    #[default]
    TokenBucket,
    /// At most `limit` in any stretch of `window_ms`, by an exact log.
    SlidingWindow,
}

/// A rule that makes sense, ready for the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Counts in parts of a token, so that every millisecond refills a whole number of them.
    TokenBucket {
        /// Tokens at once.
        capacity: u64,
        /// Parts of one token.
        per_token: u64,
        /// Parts that one millisecond brings back.
        per_ms: u64,
    },
    /// Keeps one entry per admission.
    SlidingWindow {
        /// Units in any window.
        limit: u64,
        /// Its length.
        window_ms: u64,
    },
}

impl Rule {
    /// A bucket; the fraction `refill_tokens / refill_interval_ms` is reduced, never rounded.
    pub fn token_bucket(capacity: u64, refill_tokens: u64, interval: Ttl) -> Result<Rule, Invalid> {
        let refuse = |detail: &str| Err(Invalid::new("validation_failed", detail));
        if capacity == 0 || refill_tokens == 0 {
            return refuse("A bucket has a capacity and a refill of at least 1.");
        }
        let common = greatest_common_divisor(refill_tokens, interval.as_ms());
        let (per_token, per_ms) = (interval.as_ms() / common, refill_tokens / common);
        match capacity.checked_mul(per_token) {
            Some(parts) if parts <= MAX_EXACT && per_ms <= MAX_EXACT => {
                if parts / per_ms > MAX_WAIT_MS {
                    return refuse("This bucket would take more than 10^13 ms to fill.");
                }
                Ok(Rule::TokenBucket { capacity, per_token, per_ms })
            }
            _ => refuse("capacity times refill_interval_ms is at most 2^53 - 1."),
        }
    }

    /// A window.
    pub fn sliding_window(limit: u64, window: Ttl) -> Result<Rule, Invalid> {
        if !(1..=10_000).contains(&limit) {
            let detail = "The limit of a sliding window is 1 to 10000.";
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(Rule::SlidingWindow { limit, window_ms: window.as_ms() })
    }

    /// The most that can be taken at once.
    pub fn limit(self) -> u64 {
        match self {
            Rule::TokenBucket { capacity: limit, .. } | Rule::SlidingWindow { limit, .. } => limit,
        }
    }

    /// In how many seconds the whole limit is there again: the `w` of RateLimit-Policy.
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
