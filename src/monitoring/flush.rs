//! `monitoring/flush`: stores the statistics of this process in Redis, about once a second. It has no endpoint;
//! `cli::serve` runs it while the service runs, and once more at its end.
//!
//! A process writes the whole of each window that has changed, under a field of its own, and never adds to what is
//! stored. So a flush whose reply was lost is simply sent again, and counts are exact.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::window::{FAILURES, Period, Span, context};
use crate::{
    store::{Failure, Invocation, Operation, ProcessId, Store},
    telemetry::{CallStatistics, CallWindow, FailedCall},
    types::Code,
};

/// The time between two flushes.
const PERIOD: Duration = Duration::from_secs(1);

/// The most windows of one flush. A window has 7 KiB at most and mostly a few hundred bytes, so a flush stays well
/// under half a megabyte.
const MAX_WINDOWS: usize = 64;

/// The most failures of one flush.
const MAX_FAILURES: usize = 100;

/// The most windows of past periods that wait for a server that does not answer. The oldest give way.
const MAX_CLOSED: usize = 4096;

/// The number of failures that are kept in all.
pub const KEPT_FAILURES: u64 = 1000;

/// The statistics of this process on their way to Redis.
pub struct Flusher {
    store: Store,
    statistics: CallStatistics,
    /// The clock of Redis in milliseconds, and the moment at which it was read.
    clock: Option<(u64, Instant)>,
    /// The number of the newest pair of minute and hour. It is in the name of each field, so that a clock that is
    /// set back cannot have a process write over what it has stored.
    number: u64,
    /// The present minute and the present hour.
    open: BTreeMap<Period, BTreeMap<Arc<str>, OpenWindow>>,
    /// Windows of past periods that are not stored yet.
    closed: VecDeque<StoredWindow>,
    failures: VecDeque<(u64, String)>,
    /// The number of the last failure of this process.
    last_failure: u64,
}

/// The calls of one operation in the present minute or hour.
#[derive(Default)]
struct OpenWindow {
    /// Its part of the name of the field.
    number: u64,
    window: CallWindow,
    changed: bool,
}

/// A window as it is stored.
#[derive(Clone)]
struct StoredWindow {
    period: Period,
    field: String,
    bytes: Vec<u8>,
}

/// One flush.
struct Flush {
    windows: Vec<StoredWindow>,
    /// Each with its score, its time in milliseconds.
    failures: Vec<(u64, String)>,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct FlushReply {
    /// The clock of Redis in milliseconds.
    pub now_ms: u64,
}

impl Operation for Flush {
    const NAME: &'static str = "monitoring/flush";
    const CODES: &'static [Code] = &[];
    type Reply = FlushReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.derived_key("failures_key", FAILURES, "newest");
        for StoredWindow { period, .. } in &self.windows {
            invocation.derived_key("window_key", period.span.kind(), period.number);
        }
        invocation
            .derived_arg("failures", json!(self.failures))
            .derived_arg("kept", KEPT_FAILURES)
            .derived_arg("failures_ttl_ms", Span::Hour.ttl_ms());
        for StoredWindow { period, field, bytes } in &self.windows {
            invocation
                .derived_arg("field", field)
                .derived_bytes("window", bytes)
                .derived_arg("ttl_ms", period.span.ttl_ms());
        }
    }
}

impl Flusher {
    /// The flusher of a process. There is one, because each knows only what it has stored itself.
    pub fn new(store: Store, statistics: CallStatistics) -> Flusher {
        Flusher {
            store,
            statistics,
            clock: None,
            number: 0,
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            failures: VecDeque::new(),
            last_failure: 0,
        }
    }

    /// Flushes once a second for as long as it is polled. Where the store gives no answer, the next second's flush
    /// sends the same and what has come since.
    pub async fn run(&mut self) {
        let mut second = interval(PERIOD);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            if self.store.is_held_back() {
                continue;
            }
            if let Err(failure) = self.flush().await {
                tracing::debug!(%failure, "statistics were not stored");
            }
        }
    }

    /// Flushes until nothing is left.
    ///
    /// # Errors
    ///
    /// The failure of the first flush that was not answered. What is left is lost if the process ends now.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        while self.flush().await? {}
        Ok(())
    }

    /// Stores what has changed since the last time, in one script and as far as that takes it. But for the first
    /// time, sends nothing where nothing has changed. Returns true if more is left.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply. What was sent is sent again by the next flush.
    pub async fn flush(&mut self) -> Result<bool, Failure> {
        if self.clock.is_none() {
            // The first one asks for the time, by which calls get their minute. Until then they are left where
            // they are.
            self.send(&Flush { windows: Vec::new(), failures: Vec::new() }).await?;
        }
        let Some(now_ms) = self.now_ms() else { return Ok(false) };
        self.turn_to(now_ms);
        for (operation, calls) in self.statistics.take_calls() {
            self.add(&operation, &calls);
        }
        for failed in self.statistics.take_failures() {
            self.add_failure(&failed, now_ms);
        }
        let flush = self.next_flush();
        if flush.windows.is_empty() && flush.failures.is_empty() {
            return Ok(false);
        }
        self.send(&flush).await?;
        self.stored(&flush);
        Ok(self.has_more())
    }

    /// Sends a flush, and sets the clock by its reply.
    async fn send(&mut self, flush: &Flush) -> Result<(), Failure> {
        let context = context().map_err(|error| Failure::UnexpectedReply(error.detail))?;
        match self.store.run(flush, &context).await {
            Ok(completed) => {
                self.clock = Some((completed.reply.now_ms, Instant::now()));
                Ok(())
            }
            Err(crate::store::Error::Failed(failure)) => Err(failure),
            Err(error) => Err(Failure::UnexpectedReply(format!("{error:?}"))),
        }
    }

    /// The clock of Redis, as far as this process knows it.
    fn now_ms(&self) -> Option<u64> {
        let (ms, read) = self.clock?;
        Some(ms + u64::try_from(read.elapsed().as_millis()).unwrap_or_default())
    }

    /// Closes the minute and the hour that are over, and begins those of now.
    fn turn_to(&mut self, now_ms: u64) {
        for span in [Span::Minute, Span::Hour] {
            let now = Period::at(span, now_ms);
            if self.open.contains_key(&now) {
                continue;
            }
            self.number += 1;
            let over: Vec<_> =
                self.open.keys().copied().filter(|period| period.span == span).collect();
            for period in over {
                let process = self.store.process();
                for (operation, open) in self.open.remove(&period).into_iter().flatten() {
                    if open.changed {
                        self.closed.push_back(open.to_stored(period, process, &operation));
                    }
                }
            }
            self.open.insert(now, BTreeMap::new());
        }
        while self.closed.len() > MAX_CLOSED {
            metrics::counter!("lockstep_statistics_lost_total").increment(1);
            self.closed.pop_front();
        }
    }

    /// Adds calls to the present minute and hour.
    fn add(&mut self, operation: &Arc<str>, calls: &CallWindow) {
        for windows in self.open.values_mut() {
            let number = self.number;
            let new = || OpenWindow { number, ..OpenWindow::default() };
            let open = windows.entry(Arc::clone(operation)).or_insert_with(new);
            open.window.merge(calls);
            open.changed = true;
        }
    }

    fn add_failure(&mut self, failed: &FailedCall, now_ms: u64) {
        let ago = u64::try_from(failed.at.elapsed().as_millis()).unwrap_or_default();
        let at_ms = now_ms.saturating_sub(ago);
        self.last_failure += 1;
        let id = format!("{}-{}", self.store.process(), self.last_failure);
        self.failures.push_back((at_ms, to_json(failed, at_ms, &id).to_string()));
        if self.failures.len() as u64 > KEPT_FAILURES {
            self.failures.pop_front();
        }
    }

    /// The next flush: past periods first, then what has changed in the present ones.
    fn next_flush(&self) -> Flush {
        let process = self.store.process();
        let changed = self.open.iter().flat_map(|(period, windows)| {
            let windows = windows.iter().filter(|(_, open)| open.changed);
            windows.map(|(operation, open)| open.to_stored(*period, process, operation))
        });
        let windows = self.closed.iter().cloned().chain(changed).take(MAX_WINDOWS).collect();
        let failures = self.failures.iter().take(MAX_FAILURES).cloned().collect();
        Flush { windows, failures }
    }

    /// Forgets that what was stored was to be stored.
    fn stored(&mut self, flush: &Flush) {
        self.failures.drain(..flush.failures.len());
        for stored in &flush.windows {
            if self.closed.front().is_some_and(|closed| {
                closed.field == stored.field && closed.period == stored.period
            }) {
                self.closed.pop_front();
            } else if let Some(windows) = self.open.get_mut(&stored.period)
                && let Some(operation) = super::window::operation_of(&stored.field)
                && let Some(open) = windows.get_mut(operation)
            {
                open.changed = false;
            }
        }
    }

    fn has_more(&self) -> bool {
        let mut open = self.open.values().flat_map(BTreeMap::values);
        !self.closed.is_empty() || !self.failures.is_empty() || open.any(|open| open.changed)
    }
}

impl OpenWindow {
    fn to_stored(&self, period: Period, process: ProcessId, operation: &str) -> StoredWindow {
        let field = format!("{process}:{}:{operation}", self.number);
        StoredWindow { period, field, bytes: self.window.encode() }
    }
}

/// A failure as it is stored, and as `GET /monitoring/failures` reads it.
fn to_json(failed: &FailedCall, at_ms: u64, id: &str) -> Value {
    let mut failure = json!({
        "failure_id": id,
        "at": at_ms,
        "operation": failed.operation,
        "code": failed.code,
        "status": failed.status,
        "outcome": failed.outcome,
        "request_id": failed.request_id,
        "part": failed.part,
        "duration_ms": failed.duration.as_micros() as f64 / 1000.0,
        "attempts": failed.attempts,
        "ids": failed.ids,
    });
    if let Some((key_id, name)) = &failed.actor {
        failure["actor"] = key_id.as_str().into();
        failure["actor_name"] = name.as_str().into();
    }
    failure
}
