//! Envoy's rate limit service (RLS): gateways ask it over gRPC whether a request may pass, and policies of
//! `ratelimit` decide. `cli::serve` runs it on a listener of its own, beside `server`.
//!
//! A request goes through `connection` (HTTP/2 and its bounds), `service` (the method, and the health service),
//! `descriptor` (the policy, key and cost of each descriptor) and `decision` (the decision and its answer).

mod connection;
mod decision;
mod descriptor;
pub mod messages;
mod service;

use std::sync::Arc;

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    api::{Limits, ShutdownGate},
    ratelimit::HeaderForm,
    server::{Stop, Timeouts},
    store::Store,
    telemetry::CallStatistics,
};
use connection::GatewayContext;
use service::Service;

/// The names under which the health service knows this one; the empty one is the whole server.
const HEALTH_NAMES: [&str; 2] = ["", "envoy.service.ratelimit.v3.RateLimitService"];

/// Bounds of the service; HTTP has the same.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Open connections of gateways; more wait to be accepted.
    pub max_connections: usize,
    /// The most bytes of a message.
    pub body_limit_bytes: usize,
    /// The form of the headers that tell of rate limits.
    pub limit_headers: HeaderForm,
    /// Timeouts of connections.
    pub timeouts: Timeouts,
}

/// Serves until `stop` says so, counting calls in `statistics` if there are some, and then ends in three steps.
///
/// 1. Until `gate` is closed, calls still work, and only the health service says `NOT_SERVING`.
/// 2. Nothing is accepted any more. Every connection is told to go away (GOAWAY), and ends when its calls are
///    answered, those among them that were sent before the gateway heard of it.
/// 3. After `timeouts.drain` the remaining connections are cut.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    gate: ShutdownGate,
    bounds: Bounds,
    statistics: Option<CallStatistics>,
    stop: Stop,
) {
    let Bounds { max_connections, body_limit_bytes, limit_headers, timeouts } = bounds;
    let mut health = HealthReporter::new();
    report(&health, ServingStatus::Serving).await;
    let limits = Limits {
        body_timeout: timeouts.body,
        body_bytes: body_limit_bytes,
        body_room: gate.body_room(),
    };
    let context = Arc::new(GatewayContext {
        service: Service::new(store, &gate, limits, limit_headers, statistics, health.clone()),
        first_bytes: timeouts.first_byte,
        closing: CancellationToken::new(),
    });
    let connections = TaskTracker::new();
    let leaving = async {
        stop.in_order.cancelled().await;
        report(&health, ServingStatus::NotServing).await;
        gate.closed().await;
    };
    tokio::select! {
        () = accept(&listener, max_connections, &context, &connections) => {}
        () = leaving => {}
        () = stop.at_once.cancelled() => {}
    }
    drop(listener);
    // A watch of the health service never ends by itself.
    for name in HEALTH_NAMES {
        health.clear_service_status(name).await;
    }
    context.closing.cancel();
    connections.close();
    tokio::select! {
        waited = timeout(timeouts.drain, connections.wait()) => {
            if waited.is_err() {
                tracing::warn!("some calls of gateways had no answer within the drain timeout");
            }
        }
        () = stop.at_once.cancelled() => {}
    }
}

/// Tells the health service under all its names.
async fn report(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}

/// Accepts connections and spawns a task for each. While `max_connections` are open, the next one waits.
async fn accept(
    listener: &TcpListener,
    max_connections: usize,
    context: &Arc<GatewayContext>,
    connections: &TaskTracker,
) {
    let free = Arc::new(Semaphore::new(max_connections));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let context = Arc::clone(context);
                connections.spawn(async move {
                    let open = metrics::gauge!("lockstep_rls_connections");
                    open.increment(1);
                    connection::run(socket, context).await;
                    open.decrement(1);
                    drop(permit);
                });
            }
            Err(error) => {
                // Most likely there are no file descriptors left, so other connections must end first.
                tracing::warn!(%error, "could not accept a connection of a gateway");
                sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
