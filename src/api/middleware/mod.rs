//! The code around every request: its id and span, the shutdown gate, problems and panics, headers that
//! all answers have, and its duration. `app` puts it around the router.

mod headers;
mod observation;
mod request_info;
mod shutdown_gate;

use std::{any::Any, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

pub use observation::{EndedCall, Observation};
pub use request_info::{Limits, RequestInfo};
pub use shutdown_gate::{InFlight, ShutdownGate};

use super::{Problem, REPLAYED};
use crate::{
    telemetry::{self, panic_text},
    types::codes,
};
use headers::{Asked, check_host, problem_of_stranger};
use request_info::REQUEST_ID;

/// Runs one request: gives it an id and a span, refuses it during a shutdown, writes its problem as
/// the body of the answer, and records its duration.
pub async fn handle(
    State(gate): State<ShutdownGate>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (base_path, observation) = (gate.base_path.clone(), Arc::clone(&gate.observation));
    let mut info = RequestInfo::of(request.headers(), gate.limits, base_path, observation);
    let span = request_span(&request, route.as_ref(), info.request_id());
    if info.trace_id.is_none() {
        info.trace_id = telemetry::trace_id_of(&span);
    }
    request.extensions_mut().insert(info.clone());
    let method = request.method().clone();
    let asked = Asked::of(&method, request.headers());
    let host = check_host(request.version(), request.headers());

    let response = match (gate.enter(), host) {
        (_, Err(problem)) => problem.into_response(),
        (None, Ok(())) => Problem::from(codes::SHUTTING_DOWN).into_response(),
        (Some(_in_flight), Ok(())) => next.run(request).instrument(span.clone()).await,
    };
    let mut response = asked.answer_options(with_problem(response));
    let problem = response.extensions_mut().remove::<Problem>();
    let response = match &problem {
        Some(problem) => {
            problem.report(&info, format_args!(""));
            problem.write(&info)
        }
        None => response,
    };
    let mut response = asked.finish(response, &info);
    response.headers_mut().insert(REQUEST_ID, info.request_id.clone());

    if response.headers().contains_key(REPLAYED) {
        count_replay();
    }
    let (status, duration) = (response.status().as_u16(), started.elapsed());
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    record_status(&span, status);
    telemetry::record_request(&method, route, status, duration);
    if let Some(calls) = gate.observation.operation(&method, route) {
        let part = format_args!("");
        let call = EndedCall { status, problem: problem.as_ref(), duration, part };
        gate.observation.record(calls, &call, &info);
    }
    gate.observation.log(&method, route, status, duration, &info);
    response
}

/// The span of a request, in the trace of its caller.
fn request_span(request: &Request, route: Option<&MatchedPath>, request_id: &str) -> Span {
    let (method, route) = (request.method(), route.map_or("none", MatchedPath::as_str));
    let span = tracing::debug_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        request_id,
    );
    telemetry::join_trace(&span, request.headers());
    span
}

/// Records the status of the answer in the span of its request.
fn record_status(span: &Span, status: u16) {
    // The exporter has numbers for i64 only, and texts for the others.
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Counts an answer from the record of an idempotency key.
pub fn count_replay() {
    metrics::counter!("lockstep_replays_total").increment(1);
}

/// Makes a problem of a refusal that is none, and keeps the headers beside it.
fn with_problem(mut response: Response) -> Response {
    if let Some(problem) = problem_of_stranger(&response) {
        response.extensions_mut().insert(problem);
    }
    response
}

/// Turns a panic of a handler into the problem `internal_error` of that request. The text of the
/// panic goes to the log only.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = panic_text(&*cause);
    Problem::from(codes::INTERNAL_ERROR).caused_by(format!("a panic: {text}")).into_response()
}
