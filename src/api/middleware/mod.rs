//! The code around every request: its id and span, the shutdown gate, problems and panics, and its
//! duration. `app` puts it around the router.

mod request_info;
mod shutdown_gate;

use std::{any::Any, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tracing::Instrument;

pub use request_info::{Limits, RequestInfo};
pub use shutdown_gate::{InFlight, ShutdownGate};

use super::Problem;
use crate::{telemetry::panic_text, types::codes};
use request_info::{REQUEST_ID, request_id, trace_id};

/// Runs one request: gives it an id and a span, refuses it during a shutdown, writes its problem as
/// the body of the answer, and records its duration.
pub async fn handle(
    State(gate): State<ShutdownGate>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let info = RequestInfo {
        limits: gate.limits,
        request_id: request_id(&request),
        trace_id: trace_id(&request).map(Arc::from),
        base_path: gate.base_path.clone(),
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(info.clone());

    let response = match gate.enter() {
        None => Problem::from(codes::SHUTTING_DOWN)
            .with_header(header::CONNECTION, HeaderValue::from_static("close"))
            .into_response(),
        Some(_in_flight) => {
            let span = tracing::debug_span!(
                "request",
                request_id = info.request_id(),
                route = route.as_ref().map(MatchedPath::as_str),
                trace_id = info.trace_id.as_deref(),
            );
            next.run(request).instrument(span).await
        }
    };
    let mut response = write_problem(response, &info);
    response.headers_mut().insert(REQUEST_ID, info.request_id);
    crate::telemetry::record_request(
        route.as_ref().map_or("none", MatchedPath::as_str),
        response.status().as_u16(),
        started.elapsed(),
    );
    response
}

/// Replaces an answer that carries a problem by the problem's body; any other answer stays.
fn write_problem(response: Response, info: &RequestInfo) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    problem.report(info, format_args!(""));
    let mut written = problem.write(info);
    // The router names the methods of the path beside `method_not_allowed`.
    if let Some(allow) = response.headers().get(header::ALLOW) {
        written.headers_mut().insert(header::ALLOW, allow.clone());
    }
    written
}

/// Turns a panic of a handler into the problem `internal_error` of that request. The text of the
/// panic goes to the log only.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = panic_text(&*cause);
    Problem::from(codes::INTERNAL_ERROR).caused_by(format!("a panic: {text}")).into_response()
}
