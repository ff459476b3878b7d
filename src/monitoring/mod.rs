//! Looking after the service itself: whether it lives, whether it is ready, what it has done.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{Problem, ShutdownGate},
    store::Store,
    telemetry,
    types::codes,
};

/// The calls of this domain. `gate` tells when the service is about to end.
pub fn router(gate: ShutdownGate) -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .layer(axum::Extension(gate))
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, wherever there is an answer with 200 at all.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Is the process alive?
///
/// Never asks Redis: a process should not be restarted because its store is away.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "monitoring/livez",
    tag = "monitoring",
    responses((status = OK, body = Health, description = "It is.")),
)]
async fn livez() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Can it serve?
///
/// Asks Redis for a sign of life, and says no while the service is shutting down.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "monitoring/readyz",
    tag = "monitoring",
    responses((status = OK, body = Health, description = "It can.")),
)]
async fn readyz(
    State(store): State<Store>,
    axum::Extension(gate): axum::Extension<ShutdownGate>,
) -> Result<Json<Health>, Problem> {
    if gate.is_closed() {
        return Err(codes::SHUTTING_DOWN.into());
    }
    store.ping().await?;
    Ok(Json(Health { status: "ok" }))
}

/// Metrics
///
/// In the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "monitoring/metrics",
    tag = "monitoring",
    responses((status = OK, body = String, content_type = "text/plain", description = "All metrics.")),
)]
async fn metrics(State(store): State<Store>) -> Response {
    let (size, idle) = store.pool_status();
    metrics::gauge!("lockstep_store_pool_connections", "state" => "idle").set(idle as f64);
    metrics::gauge!("lockstep_store_pool_connections", "state" => "in_use")
        .set(size.saturating_sub(idle) as f64);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (StatusCode::OK, kind, telemetry::prometheus().render()).into_response()
}
