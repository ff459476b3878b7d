//! `GET /metrics`, for Prometheus.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use metrics::gauge;
use tokio::time::timeout;

use crate::{
    api::ShutdownGate,
    store::{ConnectionGroup, ServerInfo, Store},
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
    let shards = store.shards();
    let limit = SERVER_TIMEOUT.min(store.timeout());
    let asked = shards.iter().map(|shard| timeout(limit, store.server_info(shard)));
    let infos = join_all(asked).await.into_iter().map(|info| info.ok().and_then(Result::ok));
    record_servers(&infos.collect::<Vec<_>>());
    gauge!("lockstep_store_unowned_slots").set(store.unowned_slots() as f64);
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (StatusCode::OK, content_type, telemetry::render_metrics()).into_response()
}

fn record_connections(store: &Store) {
    for group in by_name(store.connection_groups()) {
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

/// Adds up the groups of the same name of all servers, so that a cluster has no more series than a single server.
fn by_name(groups: Vec<ConnectionGroup>) -> Vec<ConnectionGroup> {
    let mut sums: Vec<ConnectionGroup> = Vec::new();
    for group in groups {
        let Some(sum) = sums.iter_mut().find(|sum| sum.name == group.name) else {
            sums.push(group);
            continue;
        };
        sum.idle += group.idle;
        sum.in_use += group.in_use;
        sum.waiting += group.waiting;
        sum.reconnects += group.reconnects;
        sum.commands += group.commands;
        sum.errors += group.errors;
        sum.waiting_limit = sum.waiting_limit.zip(group.waiting_limit).map(|(sum, own)| sum + own);
    }
    sums
}

/// Records the figures of all servers together: the longest ping, and the sums of their memory. `None` stands for a
/// server that has not answered.
fn record_servers(infos: &[Option<ServerInfo>]) {
    let answered: Vec<_> = infos.iter().flatten().collect();
    for (state, count) in [("up", answered.len()), ("down", infos.len() - answered.len())] {
        gauge!("lockstep_store_shards", "state" => state).set(count as f64);
    }
    gauge!("lockstep_redis_up").set(if answered.is_empty() { 0.0 } else { 1.0 });
    let ping = answered.iter().map(|info| info.ping).max();
    let sum = |name: &str| -> Option<f64> {
        let numbers = answered.iter().map(|info| info.number(name));
        let sum = numbers.sum::<Option<u64>>().filter(|_| !answered.is_empty());
        sum.map(|number| number as f64)
    };
    let figure = |value: Option<f64>| value.unwrap_or(f64::NAN);
    gauge!("lockstep_redis_ping_seconds").set(figure(ping.map(|ping| ping.as_secs_f64())));
    gauge!("lockstep_redis_memory_bytes").set(figure(sum("used_memory")));
    gauge!("lockstep_redis_memory_limit_bytes").set(figure(sum("maxmemory")));
}
