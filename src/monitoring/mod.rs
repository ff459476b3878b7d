//! Endpoints for operators and process managers: liveness, readiness and metrics.

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
    store::{NotReady, Store},
    telemetry,
    types::codes,
};

/// The endpoints. `readyz` asks `gate` whether the service is shutting down.
pub fn router(gate: ShutdownGate) -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .layer(axum::Extension(gate))
}

/// The state of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: every other state is a problem.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Check liveness
///
/// Answers as long as the process runs. It does not ask Redis, because restarting the process does not
/// help when Redis cannot be reached.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "monitoring/livez",
    tag = "monitoring",
    responses((status = OK, body = Health, description = "The process runs.")),
)]
async fn livez() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Check readiness
///
/// Finds out whether Redis can serve every call now, without changing anything. If not, `check` says what
/// fails (`connection`, `writes` or `rights`) and `reason` why. A service that is shutting down is not
/// ready either.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "monitoring/readyz",
    tag = "monitoring",
    responses((status = OK, body = Health, description = "The service can serve calls.")),
    extensions(("x-refusals" = json!([
        "shutting_down", "overloaded", "store_unavailable", "store_busy", "store_loading",
        "store_readonly", "store_out_of_memory"
    ]))),
)]
async fn readyz(
    State(store): State<Store>,
    axum::Extension(gate): axum::Extension<ShutdownGate>,
) -> Result<Json<Health>, Problem> {
    if gate.is_leaving() {
        return Err(codes::SHUTTING_DOWN.into());
    }
    store.check_ready().await.map_err(|NotReady { check, failure }| {
        let reason = failure.to_string();
        Problem::from(failure).with("check", <&str>::from(check)).with("reason", reason)
    })?;
    Ok(Json(Health { status: "ok" }))
}

/// Read the metrics
///
/// In the text format of Prometheus, version 0.0.4.
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
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (StatusCode::OK, content_type, telemetry::prometheus().render()).into_response()
}
