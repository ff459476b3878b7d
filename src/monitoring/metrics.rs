//! `GET /metrics`, for Prometheus.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::gauge;
use tokio::time::timeout;

use crate::{
    api::ShutdownGate,
    store::{ServerInfo, Store},
    telemetry,
};

/// The longest wait for the server's own figures. Prometheus waits 10 seconds by default.
const SERVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Read the metrics
///
/// In the text format of Prometheus, version 0.0.4. It asks Redis for its memory and the time of a round trip, and
/// answers without them after a second.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "monitoring/metrics",
    tag = "monitoring",
    responses((status = OK, body = String, content_type = "text/plain", description = "All metrics.")),
)]
pub async fn metrics(
    State(store): State<Store>,
    Extension(gate): Extension<ShutdownGate>,
) -> Response {
    gauge!("lockstep_http_requests_in_flight").set(gate.in_flight() as f64);
    record_connections(&store);
    let info = timeout(SERVER_TIMEOUT.min(store.timeout()), store.server_info()).await;
    record_server(info.ok().and_then(Result::ok).as_ref());
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (StatusCode::OK, content_type, telemetry::render_metrics()).into_response()
}

fn record_connections(store: &Store) {
    for group in store.connection_groups() {
        let pool = group.name;
        for (state, count) in [("idle", group.idle), ("in_use", group.in_use)] {
            gauge!("lockstep_store_pool_connections", "pool" => pool.clone(), "state" => state)
                .set(count as f64);
        }
        for (name, count) in [
            ("lockstep_store_reconnects_total", group.reconnects),
            ("lockstep_store_commands_total", group.commands),
            ("lockstep_store_command_errors_total", group.errors),
        ] {
            metrics::counter!(name, "pool" => pool.clone()).absolute(count);
        }
        if let Some(limit) = group.waiting_limit {
            gauge!("lockstep_store_queue_depth", "worker" => pool.clone())
                .set(group.waiting as f64);
            gauge!("lockstep_store_queue_limit", "worker" => pool).set(limit as f64);
        }
    }
    let (bytes, limit) = store.queue_bytes();
    gauge!("lockstep_store_queue_bytes").set(bytes as f64);
    gauge!("lockstep_store_queue_limit_bytes").set(limit as f64);
}

/// Records the figures of the server; `None` where it has not answered.
fn record_server(info: Option<&ServerInfo>) {
    gauge!("lockstep_redis_up").set(if info.is_some() { 1.0 } else { 0.0 });
    let figure = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let number = |name: &str| info.and_then(|info| info.number(name)).map(|number| number as f64);
    gauge!("lockstep_redis_ping_seconds").set(figure(info.map(|info| info.ping.as_secs_f64())));
    gauge!("lockstep_redis_memory_bytes").set(figure(number("used_memory")));
    gauge!("lockstep_redis_memory_limit_bytes").set(figure(number("maxmemory")));
}
