//! What the service tells about itself: logs and metrics.

use std::{cell::RefCell, collections::HashMap, sync::OnceLock, time::Duration};

use clap::ValueEnum;
use metrics::Histogram;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts writing logs to standard error. `filter` is the syntax of `tracing_subscriber::EnvFilter`;
/// one that cannot be parsed is taken as `info`.
pub fn start_logs(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// Seconds, from well under a round trip to Redis to past every timeout.
const DURATION_BUCKETS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Steps in one script.
const STEP_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// The metrics of this process; they are recorded from the first call on.
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
        // Only a second recorder could be refused, and there is none.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    })
}

/// Sorts what was recorded into its buckets every few seconds, for as long as it is polled: samples
/// would pile up in memory where nobody asks for the metrics.
pub async fn run_upkeep() {
    let mut pause = tokio::time::interval(Duration::from_secs(5));
    loop {
        pause.tick().await;
        prometheus().run_upkeep();
    }
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        "lockstep_http_request_duration_seconds",
        Unit::Seconds,
        "From the head of a request to the head of its answer, by route and status"
    );
    describe_histogram!(
        "lockstep_operation_duration_seconds",
        Unit::Seconds,
        "From the queue to Redis to the decoded reply, by operation and outcome"
    );
    describe_histogram!("lockstep_coalesced_steps", "Operations sent to Redis as one script");
    describe_counter!("lockstep_problems_total", "Problems given, by code");
    describe_counter!("lockstep_script_loads_total", "Scripts whose source was sent, by operation");
    describe_counter!("lockstep_store_connections_total", "Shared connections made to Redis");
    describe_gauge!("lockstep_store_pool_connections", "Connections in the pool, by state");
    describe_gauge!("lockstep_http_connections", "Open connections of callers");
}

thread_local! {
    /// The histograms of this thread's routes: making the labels anew would cost every request more
    /// than counting it.
    static REQUESTS: RefCell<HashMap<u16, HashMap<String, Histogram>>> = RefCell::default();
}

/// Counts one request.
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
