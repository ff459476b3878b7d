//! The code around every request: its id and span, the shutdown gate, the key of its caller, problems and panics,
//! headers that all answers have, and its duration. `app` puts it around the router.

mod access;
mod headers;
mod hosts;
mod observation;
mod request_info;
mod shutdown_gate;

use std::{any::Any, convert::Infallible, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::HeaderValue,
    response::{IntoResponse, Response},
    routing::Route,
};
use tokio::time::Instant;
use tower::{Service, layer::layer_fn, service_fn};
use tracing::{Instrument, Span, field::Empty};

pub use access::{AccessControl, AccessSettings, PeerAddress, check_requirement, check_space};
pub use hosts::AllowedHosts;
pub use observation::{EndedCall, Observation};
pub use request_info::{Limits, RequestInfo};
pub use shutdown_gate::{InFlight, ShutdownGate};

use super::{Later, Problem, REPLAYED, REPLICAS};
use crate::{
    store::counting_replicas,
    telemetry::{self, panic_text},
    types::codes,
};
use headers::{Asked, check_host, problem_of_stranger};
use request_info::REQUEST_ID;

/// Puts this middleware around all routes of a router.
pub fn around(router: Router, gate: ShutdownGate) -> Router {
    router.layer(layer_fn(move |route: Route| {
        let gate = gate.clone();
        service_fn(move |request| handle(&gate, request, &route))
    }))
}

/// Runs one request: gives it an id and a span, refuses it during a shutdown, writes its problem as
/// the body of the answer, and records its duration.
///
/// The future has nothing of the request, because it lasts for as long as the caller waits. A middleware of axum keeps
/// the room for the request and its parts beside it.
fn handle(
    gate: &ShutdownGate,
    mut request: Request,
    service: &Route,
) -> Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>> {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (limits, base_path) = (gate.limits.clone(), Arc::clone(&gate.base_path));
    let observation = Arc::clone(&gate.observation);
    let access = gate.access().cloned();
    let mut info = RequestInfo::of(request.headers(), limits, base_path, observation, access);
    let span = request_span(&request, route.as_ref(), &info.request_id);
    info.trace_id = info.trace_id.take().or_else(|| telemetry::trace_id_of(&span));
    let method = request.method().clone();
    let asked = Asked::of(&method, request.headers());
    let refused = check(&request, route.as_ref(), gate.hosts.as_deref(), &mut info).err();
    request.extensions_mut().insert(info.clone());
    let answering = match (gate.enter(), refused) {
        (_, Some(problem)) => Err(Box::new(problem)),
        (None, None) => Err(Box::new(codes::SHUTTING_DOWN.into())),
        (Some(in_flight), None) => Ok((in_flight, Box::pin(service.clone().call(request)))),
    };
    Box::pin(async move {
        let (response, replicas) = match answering {
            Err(problem) => (problem.into_response(), None),
            Ok((_in_flight, answering)) => {
                counting_replicas(answer_of(answering)).instrument(span.clone()).await
            }
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
        if let Some(replicas) = replicas {
            response.headers_mut().insert(REPLICAS, replicas.into());
        }
        if response.headers().contains_key(REPLAYED) {
            count_replay();
        }
        let (status, duration) = (response.status().as_u16(), started.elapsed());
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        record_status(&span, status);
        telemetry::record_request(&method, route, status, duration);
        let observation = &info.observation;
        if let Some(calls) = observation.operation(&method, route) {
            let part = format_args!("");
            let call = EndedCall { status, problem: problem.as_ref(), duration, part };
            observation.record(calls, &call, &info);
        }
        observation.log(&method, route, status, duration, &info);
        Ok(response)
    })
}

/// Checks what is known of a request before its handler runs, and notes in `info` who makes it.
///
/// # Errors
///
/// `invalid_host`, `host_not_allowed` or `origin_not_allowed`, or that the caller may not make this call.
fn check(
    request: &Request,
    route: Option<&MatchedPath>,
    hosts: Option<&AllowedHosts>,
    info: &mut RequestInfo,
) -> Result<(), Problem> {
    check_host(request.version(), request.uri(), request.headers())?;
    hosts.map_or(Ok(()), |hosts| hosts.check(request.uri(), request.headers()))?;
    let Some(access) = &info.access else { return Ok(()) };
    let route = route.map(MatchedPath::as_str);
    let Some(requirement) = access.requirement(route, request.method()) else { return Ok(()) };
    let peer = request.extensions().get().map(|PeerAddress(address)| *address);
    let principal = access.check_key(request.headers(), peer)?;
    let checked = check_requirement(&principal, requirement);
    // Of a refused call too, for the list of failures.
    info.principal = Some(principal);
    checked
}

/// The answer of a handler, whether it is there with the handler's end or later.
async fn answer_of(
    answering: Pin<Box<impl Future<Output = Result<Response, Infallible>>>>,
) -> Response {
    let mut response = match answering.await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match Later::take(&mut response) {
        Some(answering) => {
            // The caller may wait for long, and the empty response with its maps is not needed any more.
            drop(response);
            answering.await
        }
        None => response,
    }
}

/// The span of a request, in the trace of its caller.
fn request_span(request: &Request, route: Option<&MatchedPath>, request_id: &HeaderValue) -> Span {
    let (method, route) = (request.method(), route.map_or("none", MatchedPath::as_str));
    let span = tracing::debug_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        request_id = request_id.to_str().ok(),
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
