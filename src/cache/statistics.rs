//! `GET /cache/stats`: what the cache of a space has done for the callers of this process. `lookup`, `fill` and `get`
//! count into it and into the metrics.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{Caller, Problem},
    store::Store,
    types::Id,
};

/// The most spaces that a process counts for; those that come later are in the metrics only.
const MAX_SPACES: usize = 1000;

/// The statistics of this process, by space.
#[derive(Default)]
pub struct Statistics(Mutex<HashMap<Id, Arc<SpaceCounts>>>);

/// The counts of one space.
#[derive(Debug, Default)]
struct SpaceCounts {
    hits: AtomicU64,
    stale: AtomicU64,
    misses: AtomicU64,
    leases: AtomicU64,
    leases_lost: AtomicU64,
    waits: AtomicU64,
    waited_ms: AtomicU64,
    fills: AtomicU64,
    filling_ms: AtomicU64,
}

/// Something that the cache counts.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A call got a fresh value.
    Hit,
    /// A call got a value after its end.
    Stale,
    /// A call got no value.
    Miss,
    /// A call got a lease.
    Lease,
    /// A lease has ended without a fill.
    LeaseLapsed,
    /// A fill was refused because its lease was lost.
    FillRefused,
    /// A call has waited for somebody else to fill an entry.
    Wait(Duration),
    /// A fill was stored, so long after its lease was granted.
    Fill(Duration),
}

/// Counts an event of a space.
pub fn count(store: &Store, space: &Id, event: Event) {
    event.count_in_metrics();
    if let Some(counts) = store.local::<Statistics>().of_space(space) {
        counts.count(event);
    }
}

impl Statistics {
    /// The counts of a space; `None` where there are too many spaces for it.
    fn of_space(&self, space: &Id) -> Option<Arc<SpaceCounts>> {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = spaces.get(space) {
            return Some(Arc::clone(counts));
        }
        (spaces.len() < MAX_SPACES).then(|| Arc::clone(spaces.entry(space.clone()).or_default()))
    }
}

impl SpaceCounts {
    fn count(&self, event: Event) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (counter, time) = match event {
            Event::Hit => (&self.hits, None),
            Event::Stale => (&self.stale, None),
            Event::Miss => (&self.misses, None),
            Event::Lease => (&self.leases, None),
            Event::LeaseLapsed | Event::FillRefused => (&self.leases_lost, None),
            Event::Wait(time) => (&self.waits, Some((&self.waited_ms, time))),
            Event::Fill(time) => (&self.fills, Some((&self.filling_ms, time))),
        };
        counter.fetch_add(1, Relaxed);
        if let Some((sum, time)) = time {
            sum.fetch_add(ms(time), Relaxed);
        }
    }
}

impl Event {
    fn count_in_metrics(self) {
        let get = |result| {
            metrics::counter!("lockstep_cache_gets_total", "result" => result).increment(1)
        };
        let lost = |reason| {
            metrics::counter!("lockstep_cache_leases_lost_total", "reason" => reason).increment(1);
        };
        match self {
            Event::Hit => get("hit"),
            Event::Stale => get("stale"),
            Event::Miss => get("miss"),
            Event::Lease => metrics::counter!("lockstep_cache_leases_total").increment(1),
            Event::LeaseLapsed => lost("lapsed"),
            Event::FillRefused => lost("refused"),
            Event::Wait(time) => {
                metrics::histogram!("lockstep_cache_wait_seconds").record(time.as_secs_f64());
            }
            Event::Fill(time) => {
                metrics::histogram!("lockstep_cache_fill_seconds").record(time.as_secs_f64());
            }
        }
    }
}

/// Work of the cache of a space for the callers of one process, since that has started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "process": "0199f6c28f7a7c319d4e52a1b7f0c6aa", "uptime_ms": 86_400_000, "space": "main",
    "hits": 9800, "stale": 150, "misses": 50, "hit_rate": 0.995,
    "leases": 60, "leases_lost": 2, "fills": 58, "mean_fill_ms": 41.5, "waits": 31, "mean_wait_ms": 38.0
}))]
pub struct CacheStatistics {
    /// Id of the process that answers. Each counts its own calls.
    process: String,
    /// Time since the process opened its store, in milliseconds.
    uptime_ms: u64,
    /// Space of the call.
    space: Id,
    /// Calls of `POST /cache/get` that got a fresh value.
    hits: u64,
    /// Calls that got a value after its end.
    stale: u64,
    /// Calls that got no value, with a lease or without one.
    misses: u64,
    /// Part of the calls that got a value, stale ones among them, from 0 to 1; null before the first call.
    hit_rate: Option<f64>,
    /// Calls that got a lease to fill an entry.
    leases: u64,
    /// Leases that ended without a fill and were found so, and fills that were refused.
    leases_lost: u64,
    /// Fills that were stored.
    fills: u64,
    /// Mean time from a lease to its fill in milliseconds; null before the first.
    mean_fill_ms: Option<f64>,
    /// Calls that have waited for somebody else to fill an entry.
    waits: u64,
    /// Mean time of these waits in milliseconds; null before the first.
    mean_wait_ms: Option<f64>,
}

/// Get the statistics of the cache
///
/// Each process counts the calls that it has answered, by space, since it has started; the first 1,000 spaces have
/// counts of their own. The metrics have the sums over all spaces.
#[utoipa::path(
    get,
    path = "/cache/stats",
    operation_id = "cache/stats",
    tag = "cache",
    responses((status = OK, body = CacheStatistics, description = "The counts of the space.")),
    extensions(("x-refusals" = json!(["invalid_id"]))),
)]
pub async fn stats(
    State(store): State<Store>,
    Caller(context): Caller,
) -> Result<Json<CacheStatistics>, Problem> {
    let counts = store.local::<Statistics>().of_space(&context.space).unwrap_or_default();
    let read = |count: &AtomicU64| count.load(Relaxed);
    let mean = |sum: u64, count: u64| (count > 0).then(|| sum as f64 / count as f64);
    let (hits, stale, misses) = (read(&counts.hits), read(&counts.stale), read(&counts.misses));
    let (fills, waits) = (read(&counts.fills), read(&counts.waits));
    Ok(Json(CacheStatistics {
        process: store.process().to_string(),
        uptime_ms: u64::try_from(store.uptime().as_millis()).unwrap_or(u64::MAX),
        space: context.space,
        hits,
        stale,
        misses,
        hit_rate: mean(hits + stale, hits + stale + misses),
        leases: read(&counts.leases),
        leases_lost: read(&counts.leases_lost),
        fills,
        mean_fill_ms: mean(read(&counts.filling_ms), fills),
        waits,
        mean_wait_ms: mean(read(&counts.waited_ms), waits),
    }))
}
