//! Statistics of calls since they were last collected: counts, durations and the newest failures. The middleware
//! of `api` and `bulk` record calls, `transactions` records conflicts, and `monitoring` collects both once a
//! second and keeps them in Redis.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    contention::ContendedKeys,
    histogram::{DurationHistogram, put_number, take_number},
};

/// The most failures that wait to be collected.
const MAX_FAILURES: usize = 100;

/// The layout of [`CallWindow::encode`], its first byte.
const LAYOUT: u8 = 1;

/// Records calls. Clones share what was recorded.
#[derive(Debug, Clone, Default)]
pub struct CallStatistics(Arc<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    operations: RwLock<HashMap<Arc<str>, Arc<OperationCalls>>>,
    failures: Mutex<Vec<FailedCall>>,
    contention: Mutex<ContendedKeys>,
}

/// The calls of one operation since they were last collected.
#[derive(Debug)]
pub struct OperationCalls {
    /// The name of the operation, such as `accounts/transfer`.
    pub operation: Arc<str>,
    window: Mutex<CallWindow>,
}

/// The result of a call, as statistics tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// A status below 400.
    Succeeded,
    /// A status from 400 to 499, with its problem code.
    Refused(&'static str),
    /// A status from 500 on.
    Failed,
}

/// A call that was refused or has failed. It names things by their ids, and has no amounts and no metadata.
#[derive(Debug, Clone)]
pub struct FailedCall {
    /// The name of the operation.
    pub operation: Arc<str>,
    /// The problem code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The id of the request.
    pub request_id: String,
    /// The part of the request, such as `line 7` of a stream; empty for the whole.
    pub part: String,
    /// The moment of the answer.
    pub at: Instant,
    /// The time that the call took.
    pub duration: Duration,
    /// The attempts that it took.
    pub attempts: u64,
    /// `not_applied` or `unknown`.
    pub outcome: &'static str,
    /// Members of the problem that are ids, such as `account_id`.
    pub ids: BTreeMap<String, String>,
    /// The id and the name of the caller's key, where the service has keys.
    pub actor: Option<(String, String)>,
}

/// The calls of a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallWindow {
    /// Durations of all calls; their number is the number of calls.
    pub durations: DurationHistogram,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that were refused, by problem code.
    pub refused: BTreeMap<String, u64>,
    /// Calls that failed.
    pub failed: u64,
    /// Attempts that met a conflict of WATCH.
    pub conflicts: u64,
}

impl CallStatistics {
    /// The recorder of one operation. The names are those of the document, so that they are few.
    pub fn operation(&self, name: &str) -> Arc<OperationCalls> {
        let known =
            self.0.operations.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut operations = self.0.operations.write().unwrap_or_else(PoisonError::into_inner);
            let operation: Arc<str> = name.into();
            let new = || {
                Arc::new(OperationCalls { operation: operation.clone(), window: Mutex::default() })
            };
            Arc::clone(operations.entry(operation.clone()).or_insert_with(new))
        })
    }

    /// Keeps a failure until it is collected. Where 100 wait, it is not even made: under many refusals, to write each of
    /// them down would cost more than to count it.
    pub fn record_failure(&self, failure: impl FnOnce() -> FailedCall) {
        let mut failures = lock(&self.0.failures);
        if failures.len() < MAX_FAILURES {
            failures.push(failure());
        }
    }

    /// Counts an attempt of a transaction by WATCH that met a conflict, and the keys that had changed, each with its
    /// space before it.
    pub fn record_conflict(&self, operation: &str, keys: impl Iterator<Item = String>) {
        lock(&self.operation(operation).window).conflicts += 1;
        lock(&self.0.contention).count(keys);
    }

    /// The contended keys of this process, as they are now.
    pub fn contention(&self) -> ContendedKeys {
        lock(&self.0.contention).clone()
    }

    /// Takes the calls since the last time, by operation; those without calls are left out.
    pub fn take_calls(&self) -> Vec<(Arc<str>, CallWindow)> {
        let operations = self.0.operations.read().unwrap_or_else(PoisonError::into_inner);
        let taken = operations.values().filter_map(|calls| {
            let window = mem::take(&mut *lock(&calls.window));
            (!window.is_empty()).then(|| (calls.operation.clone(), window))
        });
        taken.collect()
    }

    /// Takes the failures since the last time, the oldest first.
    pub fn take_failures(&self) -> Vec<FailedCall> {
        mem::take(&mut *lock(&self.0.failures))
    }
}

impl OperationCalls {
    /// Counts one call.
    pub fn record(&self, outcome: CallOutcome, duration: Duration) {
        let mut window = lock(&self.window);
        window.durations.record(duration);
        match outcome {
            CallOutcome::Succeeded => window.succeeded += 1,
            CallOutcome::Failed => window.failed += 1,
            CallOutcome::Refused(code) => match window.refused.get_mut(code) {
                Some(count) => *count += 1,
                None => drop(window.refused.insert(code.to_owned(), 1)),
            },
        }
    }
}

impl CallWindow {
    /// The number of calls.
    pub fn count(&self) -> u64 {
        self.durations.count()
    }

    /// Adds what another window has.
    pub fn merge(&mut self, other: &CallWindow) {
        self.durations.merge(&other.durations);
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.conflicts += other.conflicts;
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
    }

    /// The window as bytes, which [`CallWindow::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![LAYOUT];
        for number in [self.succeeded, self.failed, self.conflicts, self.refused.len() as u64] {
            put_number(&mut bytes, number);
        }
        for (code, count) in &self.refused {
            put_number(&mut bytes, code.len() as u64);
            bytes.extend_from_slice(code.as_bytes());
            put_number(&mut bytes, *count);
        }
        self.durations.encode(&mut bytes);
        bytes
    }

    /// Reads what [`CallWindow::encode`] has written; `None` where the bytes are none of that.
    pub fn decode(bytes: &[u8]) -> Option<CallWindow> {
        let (LAYOUT, mut rest) = bytes.split_first().map(|(first, rest)| (*first, rest))? else {
            return None;
        };
        let mut number = || take_number(&mut rest);
        let (succeeded, failed, conflicts) = (number()?, number()?, number()?);
        let mut refused = BTreeMap::new();
        for _ in 0..number()? {
            let length = usize::try_from(take_number(&mut rest)?).ok()?;
            let (code, after) = rest.split_at_checked(length)?;
            rest = after;
            refused.insert(str::from_utf8(code).ok()?.to_owned(), take_number(&mut rest)?);
        }
        let durations = DurationHistogram::decode(&mut rest)?;
        let window = CallWindow { durations, succeeded, refused, failed, conflicts };
        rest.is_empty().then_some(window)
    }

    fn is_empty(&self) -> bool {
        self.count() == 0 && self.conflicts == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_was_taken_is_taken_once_and_survives_its_storage() {
        let statistics = CallStatistics::default();
        let transfers = statistics.operation("accounts/transfer");
        transfers.record(CallOutcome::Succeeded, MS);
        transfers.record(CallOutcome::Refused("insufficient_funds"), 2 * MS);
        transfers.record(CallOutcome::Refused("insufficient_funds"), 3 * MS);
        transfers.record(CallOutcome::Failed, 4 * MS);
        statistics.record_conflict("transactions/run", ["main/a".to_owned()].into_iter());
        let mut taken = statistics.take_calls();
        taken.sort_by(|one, other| one.0.cmp(&other.0));
        assert!(statistics.take_calls().is_empty());
        let [(_, window), (name, conflicts)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((&**name, conflicts.conflicts, conflicts.count()), ("transactions/run", 1, 0));
        assert_eq!((window.count(), window.succeeded, window.failed), (4, 1, 1));
        assert_eq!(window.refused["insufficient_funds"], 2);
        for (_, window) in &taken {
            let bytes = window.encode();
            assert_eq!(CallWindow::decode(&bytes).as_ref(), Some(window));
            for end in 0..bytes.len() {
                assert_eq!(CallWindow::decode(&bytes[..end]), None, "cut at {end}");
            }
        }
        let mut merged = window.clone();
        merged.merge(window);
        assert_eq!((merged.count(), merged.refused["insufficient_funds"]), (8, 4));
    }

    #[test]
    fn of_many_failures_the_first_are_kept_and_no_other_is_made() {
        let statistics = CallStatistics::default();
        let mut made = 0;
        for attempts in 0..250 {
            statistics.record_failure(|| {
                made += 1;
                FailedCall {
                    operation: "locks/acquire".into(),
                    code: "lock_held",
                    status: 409,
                    request_id: String::new(),
                    part: String::new(),
                    at: Instant::now(),
                    duration: MS,
                    attempts,
                    outcome: "not_applied",
                    ids: BTreeMap::new(),
                    actor: None,
                }
            });
        }
        assert_eq!(made, 100);
        let kept: Vec<_> =
            statistics.take_failures().iter().map(|failure| failure.attempts).collect();
        assert_eq!(kept, (0..100).collect::<Vec<_>>());
        assert!(statistics.take_failures().is_empty());
    }
}
