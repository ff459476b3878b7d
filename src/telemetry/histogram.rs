//! A histogram of durations that merges with others and gives percentiles within 2 %. `calls` counts with it,
//! the store counts the runs of scripts with it, and `monitoring` keeps it in Redis.

use std::time::Duration;

/// Each power of two is divided into this many buckets of equal width. A value differs from the middle of its
/// bucket by at most a half width, which is 1/64 of it, or 1.6 %.
const PER_POWER: u64 = 32;

/// The unit of a value, in nanoseconds. Everything above 1 microsecond has its full precision.
const UNIT_NS: u64 = 32;

/// The largest value is 2^38 - 1 units, about 2.4 hours; a longer duration counts as that in percentiles.
const BITS: u32 = 38;

/// The number of buckets.
const BUCKETS: usize = (PER_POWER * (BITS as u64 - 4)) as usize;

/// Durations, counted in buckets whose width grows with the value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DurationHistogram {
    /// As many buckets as the largest value needs.
    buckets: Vec<u32>,
    count: u64,
    sum_ns: u64,
    /// In nanoseconds; of no meaning while `count` is 0.
    min_ns: u64,
    max_ns: u64,
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket_of(ns);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.min_ns = if self.count == 0 { ns } else { self.min_ns.min(ns) };
        self.max_ns = self.max_ns.max(ns);
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Adds what another histogram has counted.
    pub fn merge(&mut self, other: &DurationHistogram) {
        if other.count == 0 {
            return;
        }
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own = own.saturating_add(*more);
        }
        self.min_ns = if self.count == 0 { other.min_ns } else { self.min_ns.min(other.min_ns) };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean duration in milliseconds; `None` without one.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| milliseconds(self.sum_ns as f64 / self.count as f64))
    }

    /// The shortest duration in milliseconds; `None` without one.
    pub fn min_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| milliseconds(self.min_ns as f64))
    }

    /// The longest duration in milliseconds; `None` without one.
    pub fn max_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| milliseconds(self.max_ns as f64))
    }

    /// The duration in milliseconds that `share` of all do not exceed, such as 0.95, within 2 %; `None` without
    /// a duration. Of n durations in their order it is number n * `share`, rounded up.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        let ns = middle_ns(bucket).clamp(self.min_ns, self.max_ns);
        Some(milliseconds(ns as f64))
    }

    /// Appends the histogram as bytes that [`DurationHistogram::decode`] reads: at most 7 KiB, and a few
    /// hundred bytes for what a minute of calls has.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        for number in [self.count, self.sum_ns, self.min_ns, self.max_ns] {
            put_number(bytes, number);
        }
        let filled = || self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        put_number(bytes, filled().count() as u64);
        let mut next = 0;
        for (bucket, count) in filled() {
            put_number(bytes, (bucket - next) as u64);
            put_number(bytes, u64::from(*count));
            next = bucket + 1;
        }
    }

    /// Reads what [`DurationHistogram::encode`] has written, and leaves `bytes` behind it; `None` where the bytes
    /// are none of that.
    pub fn decode(bytes: &mut &[u8]) -> Option<DurationHistogram> {
        let mut number = || take_number(bytes);
        let (count, sum_ns, min_ns, max_ns) = (number()?, number()?, number()?, number()?);
        let mut buckets = Vec::new();
        for _ in 0..number()? {
            let skipped = usize::try_from(number()?).ok()?;
            let bucket = buckets.len().checked_add(skipped).filter(|bucket| *bucket < BUCKETS)?;
            buckets.resize(bucket, 0);
            buckets.push(u32::try_from(number()?).ok()?);
        }
        Some(DurationHistogram { buckets, count, sum_ns, min_ns, max_ns })
    }
}

fn milliseconds(ns: f64) -> f64 {
    // A nanosecond is more than any clock here tells.
    (ns).round() / 1e6
}

fn bucket_of(ns: u64) -> usize {
    let value = (ns / UNIT_NS).min((1 << BITS) - 1);
    if value < PER_POWER {
        return value as usize;
    }
    let shift = value.ilog2() - PER_POWER.ilog2();
    // The lowest power of two that is divided begins at bucket 32.
    (u64::from(shift) * PER_POWER + (value >> shift)) as usize
}

/// The middle of a bucket.
fn middle_ns(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PER_POWER {
        return bucket * UNIT_NS + UNIT_NS / 2;
    }
    let shift = bucket / PER_POWER - 1;
    let lowest = (bucket - shift * PER_POWER) << shift;
    (2 * lowest + (1 << shift)) * UNIT_NS / 2
}

/// Appends a number in groups of 7 bits, the lowest first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads a number that [`put_number`] has written.
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations: &[u64]) -> DurationHistogram {
        let mut histogram = DurationHistogram::default();
        durations.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
        histogram
    }

    fn decoded(histogram: &DurationHistogram) -> DurationHistogram {
        let mut bytes = Vec::new();
        histogram.encode(&mut bytes);
        bytes.push(7);
        let mut rest = bytes.as_slice();
        let decoded = DurationHistogram::decode(&mut rest).unwrap();
        assert_eq!(rest, [7]);
        decoded
    }

    /// Durations of every size, from 1 microsecond to 2 hours.
    fn durations() -> impl Strategy<Value = Vec<u64>> {
        let one = (10_u32..43)
            .prop_flat_map(|bits| (1_u64 << bits)..(2_u64 << bits).min(7_200_000_000_000));
        proptest::collection::vec(one, 1..200)
    }

    proptest! {
        #[test]
        fn percentiles_are_within_two_per_cent(mut durations in durations()) {
            let histogram = of(&durations);
            durations.sort_unstable();
            for share in [0.01, 0.5, 0.95, 0.99, 1.0] {
                let rank = (durations.len() as f64 * share).ceil() as usize;
                let exact = durations[rank - 1] as f64 / 1e6;
                let found = histogram.quantile_ms(share).unwrap();
                prop_assert!((found - exact).abs() <= 0.02 * exact, "{share}: {found} for {exact}");
            }
            let sum: u64 = durations.iter().sum();
            prop_assert!((histogram.mean_ms().unwrap() * 1e6 - sum as f64 / durations.len() as f64).abs() <= 1.0);
        }

        #[test]
        fn parts_that_are_stored_and_merged_are_the_whole(durations in durations(), at in 0_usize..200) {
            let (one, other) = durations.split_at(at.min(durations.len()));
            let mut merged = decoded(&of(one));
            merged.merge(&decoded(&of(other)));
            prop_assert_eq!(merged, of(&durations));
        }

        #[test]
        fn bytes_that_are_no_histogram_are_refused(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            if let Some(histogram) = DurationHistogram::decode(&mut rest) {
                prop_assert!(histogram.buckets.len() <= BUCKETS);
            }
        }
    }

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(middle_ns(bucket)), bucket);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_has_no_duration_has_no_figures() {
        let none = DurationHistogram::default();
        assert_eq!(
            (none.mean_ms(), none.min_ms(), none.max_ms(), none.quantile_ms(0.5)),
            (None, None, None, None)
        );
        assert_eq!(decoded(&none), none);
    }

    #[test]
    fn the_largest_histogram_is_bounded() {
        let histogram = DurationHistogram {
            buckets: vec![u32::MAX; BUCKETS],
            count: 1,
            ..DurationHistogram::default()
        };
        let mut bytes = Vec::new();
        histogram.encode(&mut bytes);
        assert!(bytes.len() < 7000, "{}", bytes.len());
    }
}
