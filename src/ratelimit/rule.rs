//! The rules of a rate limit, checked and reduced to whole numbers. `limit` makes them of a request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Invalid, Ttl, limits::MAX_SAFE_INTEGER};

/// The largest number that Lua counts exactly.
const MAX_NUMBER: u64 = MAX_SAFE_INTEGER.unsigned_abs();

/// The longest time that an empty bucket can take to fill, about 317 years.
const MAX_WAIT_MS: u64 = 10_000_000_000_000;

/// The most units of an algorithm that keeps an entry for each.
const MAX_ENTRIES: u64 = 10_000;

/// The most sub-buckets of a sliding counter.
const MAX_BUCKETS: u64 = 1000;

/// An algorithm that limits a rate.
///
/// - `token_bucket` allows bursts of up to `capacity` and refills it evenly over time.
/// - `sliding_window` allows at most `limit` in any period of `window_ms`, by a log of all admissions.
/// - `sliding_counter` allows at most `limit` in any period of `window_ms`, and counts by sub-buckets of
///   time: it needs little memory, and gives units back up to one sub-bucket late.
/// - `fixed_window` allows at most `limit` in each period of `window_ms` that begins at a multiple of it.
/// - `concurrency` allows at most `limit` at the same time; each is a lease that ends after `ttl_ms`.
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
    /// At most `limit` are admitted in any period of `window_ms`; a sub-bucket counts as long as any
    /// instant of it lies in the period.
    SlidingCounter,
    /// At most `limit` are admitted in each period of `window_ms` since 1970.
    FixedWindow,
    /// At most `limit` leases exist at the same time; each ends after `ttl_ms` or when it is released.
    Concurrency,
}

impl Algorithm {
    /// The number by which scripts know the algorithm. `migrations-lua/lib/limit.lua` has the same.
    pub fn code(self) -> u8 {
        match self {
            Algorithm::TokenBucket => 1,
            Algorithm::SlidingWindow => 2,
            Algorithm::SlidingCounter => 3,
            Algorithm::FixedWindow => 4,
            Algorithm::Concurrency => 5,
        }
    }
}

/// A rule whose values have been checked, in the numbers that the scripts count with.
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
    /// A window that keeps a number for each sub-bucket of time.
    SlidingCounter {
        /// The most units in any window.
        limit: u64,
        /// Length of the window in milliseconds.
        window_ms: u64,
        /// Length of a sub-bucket in milliseconds.
        width_ms: u64,
    },
    /// A window that begins at a multiple of its length since 1970.
    FixedWindow {
        /// The most units in a window.
        limit: u64,
        /// Length of the window in milliseconds.
        window_ms: u64,
    },
    /// Leases that exist at the same time.
    Concurrency {
        /// The most units of all leases.
        limit: u64,
        /// The milliseconds after which a lease ends by itself.
        ttl_ms: u64,
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
        if capacity == 0 || refill_tokens == 0 {
            return invalid("A bucket has a capacity and a refill of at least 1.");
        }
        let common = greatest_common_divisor(refill_tokens, interval.as_ms());
        let (per_token, per_ms) = (interval.as_ms() / common, refill_tokens / common);
        match capacity.checked_mul(per_token) {
            Some(parts) if parts <= MAX_NUMBER && per_ms <= MAX_NUMBER => {
                if parts / per_ms > MAX_WAIT_MS {
                    return invalid("This bucket would take more than 10^13 ms to fill.");
                }
                Ok(Rule::TokenBucket { capacity, per_token, per_ms })
            }
            _ => invalid("capacity times refill_interval_ms is at most 2^53 - 1."),
        }
    }

    /// Makes a window that logs each admission.
    ///
    /// # Errors
    ///
    /// `validation_failed` if the limit is not 1 to 10,000.
    pub fn sliding_window(limit: u64, window: Ttl) -> Result<Rule, Invalid> {
        if !(1..=MAX_ENTRIES).contains(&limit) {
            return invalid("The limit of a sliding window is 1 to 10000.");
        }
        Ok(Rule::SlidingWindow { limit, window_ms: window.as_ms() })
    }

    /// Makes a window that counts by `buckets` sub-buckets.
    ///
    /// # Errors
    ///
    /// `validation_failed` if the limit is not 1 to 2^53 - 1, or `buckets` not 1 to 1,000.
    pub fn sliding_counter(limit: u64, window: Ttl, buckets: u64) -> Result<Rule, Invalid> {
        if !(1..=MAX_BUCKETS).contains(&buckets) {
            return invalid("A sliding counter has 1 to 1000 buckets.");
        }
        let (limit, window_ms) = (countable(limit)?, window.as_ms());
        Ok(Rule::SlidingCounter { limit, window_ms, width_ms: window_ms.div_ceil(buckets) })
    }

    /// Makes a window that begins at a multiple of its length.
    ///
    /// # Errors
    ///
    /// `validation_failed` if the limit is not 1 to 2^53 - 1.
    pub fn fixed_window(limit: u64, window: Ttl) -> Result<Rule, Invalid> {
        Ok(Rule::FixedWindow { limit: countable(limit)?, window_ms: window.as_ms() })
    }

    /// Makes a limit of leases.
    ///
    /// # Errors
    ///
    /// `validation_failed` if the limit is not 1 to 10,000.
    pub fn concurrency(limit: u64, ttl: Ttl) -> Result<Rule, Invalid> {
        if !(1..=MAX_ENTRIES).contains(&limit) {
            return invalid("The limit of leases at the same time is 1 to 10000.");
        }
        Ok(Rule::Concurrency { limit, ttl_ms: ttl.as_ms() })
    }

    /// Returns the algorithm.
    pub fn algorithm(self) -> Algorithm {
        match self {
            Rule::TokenBucket { .. } => Algorithm::TokenBucket,
            Rule::SlidingWindow { .. } => Algorithm::SlidingWindow,
            Rule::SlidingCounter { .. } => Algorithm::SlidingCounter,
            Rule::FixedWindow { .. } => Algorithm::FixedWindow,
            Rule::Concurrency { .. } => Algorithm::Concurrency,
        }
    }

    /// Returns the most units that one check can take.
    pub fn limit(self) -> u64 {
        match self {
            Rule::TokenBucket { capacity: limit, .. }
            | Rule::SlidingWindow { limit, .. }
            | Rule::SlidingCounter { limit, .. }
            | Rule::FixedWindow { limit, .. }
            | Rule::Concurrency { limit, .. } => limit,
        }
    }

    /// Returns the two numbers beside the limit that the scripts count with, called `a` and `b` there.
    pub fn numbers(self) -> (u64, u64) {
        match self {
            Rule::TokenBucket { per_token, per_ms, .. } => (per_token, per_ms),
            Rule::SlidingCounter { window_ms, width_ms, .. } => (window_ms, width_ms),
            Rule::SlidingWindow { window_ms, .. } | Rule::FixedWindow { window_ms, .. } => {
                (window_ms, 0)
            }
            Rule::Concurrency { ttl_ms, .. } => (ttl_ms, 0),
        }
    }

    /// Returns the part of a state's name that keeps rules apart whose states mean different things,
    /// such as windows of two lengths: the shorter one would drop what the longer one still counts.
    pub fn shape(self) -> String {
        match self {
            Rule::TokenBucket { .. } => "bucket".to_owned(),
            Rule::SlidingWindow { window_ms, .. } => format!("window-{window_ms}"),
            Rule::SlidingCounter { window_ms, width_ms, .. } => {
                format!("counter-{window_ms}-{width_ms}")
            }
            Rule::FixedWindow { window_ms, .. } => format!("fixed-{window_ms}"),
            Rule::Concurrency { .. } => "leases".to_owned(),
        }
    }

    /// Returns the milliseconds after which a limit that was used up is whole again.
    pub fn window_ms(self) -> u64 {
        match self {
            Rule::TokenBucket { capacity, per_token, per_ms } => {
                (capacity * per_token).div_ceil(per_ms)
            }
            Rule::SlidingCounter { window_ms, width_ms, .. } => window_ms + width_ms - 1,
            Rule::SlidingWindow { window_ms, .. } | Rule::FixedWindow { window_ms, .. } => {
                window_ms
            }
            Rule::Concurrency { ttl_ms, .. } => ttl_ms,
        }
    }
}

fn countable(limit: u64) -> Result<u64, Invalid> {
    if !(1..=MAX_NUMBER).contains(&limit) {
        return invalid("A limit is 1 to 2^53 - 1.");
    }
    Ok(limit)
}

fn invalid<T>(detail: &str) -> Result<T, Invalid> {
    Err(Invalid::new("validation_failed", detail))
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
        assert_eq!(rule.window_ms(), 1667);
    }

    #[test]
    fn rules_that_could_not_be_exact_are_refused() {
        let day = Ttl::from_ms(86_400_000);
        assert!(Rule::token_bucket(1 << 53, 1, day).is_err());
        assert!(Rule::token_bucket(0, 1, day).is_err());
        assert!(Rule::token_bucket(1, 0, day).is_err());
        assert!(Rule::token_bucket(1_000_000, 1, day).is_err());
        assert!(Rule::sliding_window(10_001, day).is_err());
        assert!(Rule::sliding_counter(1 << 53, day, 60).is_err());
        assert!(Rule::sliding_counter(1, day, 0).is_err());
        assert!(Rule::sliding_counter(1, day, 1001).is_err());
        assert!(Rule::fixed_window(0, day).is_err());
        assert!(Rule::concurrency(10_001, day).is_err());
    }
}
