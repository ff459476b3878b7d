//! `GET /livez` and `GET /readyz`, for process managers and balancers.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{Problem, ShutdownGate},
    store::{NotReady, Store},
    types::codes,
};

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
    extensions(("x-access" = json!("open"))),
)]
pub async fn livez() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Check readiness
///
/// Finds out whether Redis can serve every call now, without changing anything. If not, `check` says what
/// fails (`connection`, `writes`, `rights` or `keys`) and `reason` why. A service that is shutting down is not
/// ready either.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "monitoring/readyz",
    tag = "monitoring",
    responses((status = OK, body = Health, description = "The service can serve calls.")),
    extensions(("x-access" = json!("open")), ("x-refusals" = json!([
        "shutting_down", "overloaded", "store_unavailable", "store_busy", "store_loading",
        "store_readonly", "store_out_of_memory"
    ]))),
)]
pub async fn readyz(
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
    if gate.access().is_some_and(|access| !access.ring().is_loaded()) {
        let problem = Problem::from(codes::STORE_UNAVAILABLE).with("check", "keys");
        return Err(problem.with("reason", "the keys of callers are not known yet"));
    }
    Ok(Json(Health { status: "ok" }))
}
