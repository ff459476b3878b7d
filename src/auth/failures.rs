//! The failures that callers of an address may have: a bounded number of 401 a minute, and then 429. A call with a key that
//! works is never held up, because its check is cheap, and because many callers may share an address.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::Instant;

/// The most addresses that are known. The one that did not fail for the longest time makes room.
const MAX_ADDRESSES: usize = 10_000;

/// The time in which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the failures of addresses.
pub struct FailureLimiter {
    most: u32,
    opened: Instant,
    /// For each address the number of its window, and in the lower half how often it has failed there.
    failures: Cache<IpAddr, Arc<AtomicU64>>,
}

impl FailureLimiter {
    /// A limiter that lets an address fail `most` times a minute.
    pub fn new(most: u32) -> FailureLimiter {
        FailureLimiter { most, opened: Instant::now(), failures: Cache::new(MAX_ADDRESSES) }
    }

    /// Counts a failure of an address.
    ///
    /// # Errors
    ///
    /// The time until it may fail again, if it has failed too often.
    pub fn count(&self, address: IpAddr) -> Result<(), Duration> {
        self.count_at(address, self.opened.elapsed())
    }

    /// Counts a failure so long after the limiter was made.
    fn count_at(&self, address: IpAddr, elapsed: Duration) -> Result<(), Duration> {
        let window = elapsed.as_secs() / WINDOW.as_secs();
        let made = self.failures.get_or_insert_with(&network(address), || {
            Ok::<_, std::convert::Infallible>(Arc::default())
        });
        let Ok(state) = made;
        let next = |state: u64| {
            let failed = if state >> 32 == window { state & u64::from(u32::MAX) } else { 0 };
            (failed < u64::from(self.most)).then_some(window << 32 | (failed + 1))
        };
        match state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(_) => Err(WINDOW * u32::try_from(window + 1).unwrap_or(u32::MAX) - elapsed),
        }
    }
}

/// The address, or of version 6 the network of 64 bits: one machine has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [one, two, three, four, ..] = six.segments();
            IpAddr::from([one, two, three, four, 0, 0, 0, 0])
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_fails_so_often_a_minute_and_no_more() {
        let limiter = FailureLimiter::new(3);
        let at =
            |second: u64, text: &str| limiter.count_at(address(text), Duration::from_secs(second));
        for _ in 0..3 {
            assert_eq!(at(59, "192.0.2.1"), Ok(()));
        }
        assert_eq!(at(59, "192.0.2.1"), Err(Duration::from_secs(1)));
        assert_eq!(at(59, "::ffff:192.0.2.1"), Err(Duration::from_secs(1)));
        assert_eq!(at(59, "192.0.2.2"), Ok(()));
        assert_eq!(at(60, "192.0.2.1"), Ok(()));
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let limiter = FailureLimiter::new(1);
        assert!(limiter.count(address("2001:db8::1")).is_ok());
        assert!(limiter.count(address("2001:db8::ffff:2")).is_err());
        assert!(limiter.count(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn concurrent_failures_are_counted_exactly() {
        let limiter = Arc::new(FailureLimiter::new(100));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                std::thread::spawn(move || {
                    (0..50).filter(|_| limiter.count(address("192.0.2.1")).is_ok()).count()
                })
            })
            .collect();
        let counted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(counted, 100);
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let limiter = FailureLimiter::new(1);
        for number in 0..30_000_u32 {
            let _ = limiter.count(IpAddr::from(number.to_be_bytes()));
        }
        assert!(limiter.failures.len() <= MAX_ADDRESSES);
    }
}
