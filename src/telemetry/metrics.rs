//! Metrics in the text format of Prometheus, which `GET /metrics` renders.

use std::{cell::RefCell, collections::HashMap, sync::OnceLock, time::Duration};

use metrics::Histogram;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of durations in seconds: from less than a round trip to Redis to more than every
/// timeout.
const DURATION_BUCKETS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

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

/// Gives every metric its help text.
fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        "lockstep_http_request_duration_seconds",
        Unit::Seconds,
        "Time from the head of a request to the head of its response, by route and status"
    );
    describe_histogram!(
        "lockstep_operation_duration_seconds",
        Unit::Seconds,
        "Time from queueing an operation for Redis to its decoded reply, by operation and outcome"
    );
    describe_histogram!("lockstep_coalesced_steps", "Operations sent to Redis in one script");
    describe_counter!("lockstep_problems_total", "Problems answered to callers, by code");
    describe_counter!(
        "lockstep_script_loads_total",
        "Scripts sent to Redis with their source, by operation"
    );
    describe_counter!(
        "lockstep_log_lines_dropped_total",
        "Log lines that were not written, because standard error was not read in time"
    );
    describe_counter!(
        "lockstep_torn_commits_total",
        "Commits that failed after their first write and could not be undone"
    );
    describe_counter!(
        "lockstep_store_connections_total",
        "Connections to Redis opened for batches of operations"
    );
    describe_gauge!(
        "lockstep_store_pool_connections",
        "Connections to Redis in the pool, by state (idle, in_use)"
    );
    describe_gauge!("lockstep_http_connections", "Open connections of callers");
    describe_gauge!("lockstep_rls_connections", "Open connections of gateways");
    describe_gauge!(
        "lockstep_http_connections_idle",
        "Open connections of callers between two calls, or before the first"
    );
    describe_gauge!("lockstep_lock_waiters", "Calls that may wait for a lock");
    describe_counter!(
        "lockstep_swept_total",
        "Runs of an expiry by the sweeper, by kind of resource; a run may find nothing to end"
    );
    describe_counter!(
        "lockstep_low_stock_crossings_total",
        "Changes that took the available units of a product across its low_stock, by direction"
    );
    describe_counter!(
        "lockstep_transaction_attempts_total",
        "Attempts of POST /transactions to commit"
    );
    describe_counter!(
        "lockstep_transaction_conflicts_total",
        "Attempts of POST /transactions that failed because a watched key had changed"
    );
}

thread_local! {
    /// Histograms by status and route. Looking one up here costs less than building its labels for
    /// every request.
    static REQUESTS: RefCell<HashMap<u16, HashMap<String, Histogram>>> = RefCell::default();
}

/// Records the duration of one request. `route` is the path with its parameters' names, such as
/// `/accounts/{account_id}`.
pub fn record_request(route: &str, status: u16, duration: Duration) {
    REQUESTS.with_borrow_mut(|statuses| {
        let routes = statuses.entry(status).or_default();
        if let Some(histogram) = routes.get(route) {
            return histogram.record(duration);
        }
        let histogram = metrics::histogram!(
            "lockstep_http_request_duration_seconds",
            "route" => route.to_owned(),
            "status" => status.to_string(),
        );
        histogram.record(duration);
        routes.insert(route.to_owned(), histogram);
    });
}
