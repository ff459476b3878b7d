//! Metrics in the text format of Prometheus, which `GET /metrics` renders.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use axum::http::Method;
use metrics::{Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// Upper bounds of durations in seconds: from less than a round trip to Redis to more than every
/// timeout.
const DURATION_BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// What the operating system says of this process: `process_cpu_seconds_total` and others.
static PROCESS: LazyLock<Collector> = LazyLock::new(Collector::default);

/// Upper bounds of the number of steps, which are operations, in one script.
const STEP_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// The metrics of this process. The first call installs the recorder; what is recorded before it is
/// lost.
pub fn prometheus() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_steps".to_owned()), &STEP_BUCKETS)
            })
            .unwrap_or_default()
            .build_recorder();
        let handle = recorder.handle();
        // This fails only if another recorder is installed, and nothing else installs one.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    })
}

/// Every second, for as long as it is polled: logs how often failures were repeated, and moves recorded
/// samples into their buckets. Without that, samples would pile up in memory while nobody reads the metrics.
pub async fn run_upkeep() {
    let mut pause = tokio::time::interval(Duration::from_secs(1));
    loop {
        pause.tick().await;
        super::log_repeats();
        prometheus().run_upkeep();
    }
}

/// Histograms with their units and help texts.
const HISTOGRAMS: &[(&str, Unit, &str)] = &[
    (
        "lockstep_http_request_duration_seconds",
        Unit::Seconds,
        "Time from the head of a request to the head of its response, by method, route and status",
    ),
    (
        "lockstep_operation_duration_seconds",
        Unit::Seconds,
        "Time from queueing an operation for Redis to its decoded reply, by operation and outcome",
    ),
    ("lockstep_coalesced_steps", Unit::Count, "Operations sent to Redis in one script"),
    (
        "lockstep_cache_fill_seconds",
        Unit::Seconds,
        "Time from the lease to fill a cache entry to its fill",
    ),
    (
        "lockstep_cache_wait_seconds",
        Unit::Seconds,
        "Time of calls that waited until somebody else had filled a cache entry",
    ),
];

/// Counters without labels, which are 0 before their first event.
const COUNTERS: &[(&str, &str)] = &[
    (
        "lockstep_log_lines_dropped_total",
        "Log lines that were not written, because standard error was not read in time",
    ),
    (
        "lockstep_torn_commits_total",
        "Commits that failed after their first write and could not be undone",
    ),
    ("lockstep_store_connections_total", "Connections to Redis opened for batches of operations"),
    ("lockstep_cache_leases_total", "Leases to fill a cache entry that were given to callers"),
    ("lockstep_replays_total", "Calls that were answered from the record of their idempotency key"),
    (
        "lockstep_statistics_lost_total",
        "Minutes and hours of statistics that were not stored, because Redis did not answer for too long",
    ),
    ("lockstep_transaction_attempts_total", "Attempts of POST /transactions to commit"),
    (
        "lockstep_transaction_conflicts_total",
        "Attempts of POST /transactions that failed because a watched key had changed",
    ),
];

/// Counters with a label. [`register_counter`] lets them exist before their first event.
const LABELLED_COUNTERS: &[(&str, &str)] = &[
    ("lockstep_problems_total", "Problems answered to callers, by code"),
    ("lockstep_cache_gets_total", "Calls of POST /cache/get, by result (hit, stale, miss)"),
    (
        "lockstep_cache_leases_lost_total",
        "Leases to fill a cache entry that ended without a fill (lapsed), and fills that came too late (refused)",
    ),
    ("lockstep_limits_without_store_total", "Checks decided without Redis, by what decided"),
    ("lockstep_script_loads_total", "Scripts sent to Redis with their source, by operation"),
    (
        "lockstep_swept_total",
        "Runs of an expiry by the sweeper, by kind of resource; a run may find nothing to end",
    ),
    (
        "lockstep_low_stock_crossings_total",
        "Changes that took the available units of a product across its low_stock, by direction",
    ),
    (
        "lockstep_store_reconnects_total",
        "Connections to Redis that were lost and replaced, by batch worker or pool",
    ),
    ("lockstep_store_commands_total", "Commands sent to Redis, by batch worker or pool"),
    (
        "lockstep_store_command_errors_total",
        "Commands to Redis that were answered by an error or not at all, by batch worker or pool",
    ),
];

/// Gauges with their help texts.
const GAUGES: &[(&str, &str)] = &[
    ("lockstep_build_info", "Always 1; the label has the version of the program"),
    ("lockstep_http_connections", "Open connections of callers"),
    (
        "lockstep_http_connections_idle",
        "Open connections of callers between two calls, or before the first",
    ),
    ("lockstep_http_connections_waiting", "Those that wait for an answer for long"),
    ("lockstep_rls_connections", "Open connections of gateways"),
    ("lockstep_http_requests_in_flight", "Requests that are not answered yet, this one among them"),
    ("lockstep_lock_waiters", "Calls that may wait for a lock"),
    ("lockstep_cache_waiters", "Calls that may wait for a cache entry"),
    ("lockstep_store_queue_depth", "Calls in the queue of a batch worker"),
    ("lockstep_store_queue_limit", "Most calls that may be in the queue of a batch worker"),
    ("lockstep_store_queue_bytes", "Bytes of calls that wait for Redis or are on their way"),
    (
        "lockstep_store_queue_limit_bytes",
        "Most bytes of calls that may wait for Redis or be on their way",
    ),
    (
        "lockstep_store_pool_connections",
        "Connections to Redis, by batch worker or pool and by state (idle, in_use)",
    ),
    (
        "lockstep_store_shards",
        "Servers that have data of the service, by state (up, down): one, or the masters of a cluster",
    ),
    ("lockstep_store_unowned_slots", "Hash slots of the cluster that no known master owns"),
    ("lockstep_redis_up", "1 if Redis has answered when the metrics were read, otherwise 0"),
    ("lockstep_redis_ping_seconds", "Time of a round trip to Redis; NaN without an answer"),
    ("lockstep_redis_memory_bytes", "Memory that Redis uses; NaN without an answer"),
    (
        "lockstep_redis_memory_limit_bytes",
        "Most memory that Redis may use, 0 without a limit; NaN without an answer",
    ),
];

/// Gives every metric its help text, and lets counters exist before their first event.
fn describe() {
    for (name, unit, help) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *unit, *help);
    }
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
        metrics::counter!(*name).increment(0);
    }
    for (name, help) in LABELLED_COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(*name, *help);
    }
    metrics::gauge!("lockstep_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    PROCESS.describe();
}

/// Lets a counter with one label exist before its first event, for each value of the label.
pub fn register_counter(
    name: &'static str,
    label: &'static str,
    values: impl Iterator<Item = &'static str>,
) {
    for value in values {
        metrics::counter!(name, label => value).increment(0);
    }
}

/// The text of all metrics of this process, those of the operating system about it among them.
pub fn render_metrics() -> String {
    let prometheus = prometheus();
    PROCESS.collect();
    prometheus.render()
}

/// Histograms by route. Looking one up here costs less than building its labels for every request.
type Routes = HashMap<String, Histogram>;

thread_local! {
    /// By status and method.
    static REQUESTS: RefCell<HashMap<(u16, &'static str), Routes>> = RefCell::default();
}

/// Records the duration of one request. `route` is the path with its parameters' names, such as
/// `/accounts/{account_id}`.
pub fn record_request(method: &Method, route: &str, status: u16, duration: Duration) {
    let method = method_label(method);
    REQUESTS.with_borrow_mut(|requests| {
        let routes = requests.entry((status, method)).or_default();
        if let Some(histogram) = routes.get(route) {
            return histogram.record(duration);
        }
        let histogram = metrics::histogram!(
            "lockstep_http_request_duration_seconds",
            "method" => method,
            "route" => route.to_owned(),
            "status" => status.to_string(),
        );
        histogram.record(duration);
        routes.insert(route.to_owned(), histogram);
    });
}

/// The label of a method. Callers can send any word as one, and a metric must not grow with what they send.
fn method_label(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| method.as_str() == *known).unwrap_or("other")
}
