//! The code around every request: its id and span, the shutdown gate, problems and panics, headers that
//! all answers have, and its duration. `app` puts it around the router.

mod headers;
mod request_info;
mod shutdown_gate;

use std::{any::Any, convert::Infallible, pin::Pin};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tower::Service;
use tracing::Instrument;

pub use request_info::{Limits, RequestInfo};
pub use shutdown_gate::{InFlight, ShutdownGate};

use super::{Later, Problem};
use crate::{telemetry::panic_text, types::codes};
use headers::{Asked, check_host, problem_of_stranger};
use request_info::REQUEST_ID;

/// Runs one request: gives it an id and a span, refuses it during a shutdown, writes its problem as
/// the body of the answer, and records its duration.
pub fn handle(
    State(gate): State<ShutdownGate>,
    mut request: Request,
    mut next: Next,
) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    let started = Instant::now();
    let info = RequestInfo::of(request.headers(), gate.limits, gate.base_path.clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(info.clone());
    let asked = Asked::of(request.method(), request.headers());
    let host = check_host(request.version(), request.headers());
    let answering = match (gate.enter(), host) {
        (_, Err(problem)) => Err(problem),
        (None, Ok(())) => Err(codes::SHUTTING_DOWN.into()),
        (Some(in_flight), Ok(())) => Ok((in_flight, next.call(request))),
    };
    // The future has nothing of the request: it lasts for as long as the caller waits.
    Box::pin(async move {
        let response = match answering {
            Err(problem) => problem.into_response(),
            Ok((_in_flight, answering)) => {
                let span = tracing::debug_span!(
                    "request",
                    request_id = info.request_id(),
                    route = route.as_ref().map(MatchedPath::as_str),
                    trace_id = info.trace_id.as_deref(),
                );
                answer_of(answering).instrument(span).await
            }
        };
        let response = asked.answer_options(with_problem(response));
        let response = write_problem(response, &info);
        let mut response = asked.finish(response, &info);
        response.headers_mut().insert(REQUEST_ID, info.request_id);
        crate::telemetry::record_request(
            route.as_ref().map_or("none", MatchedPath::as_str),
            response.status().as_u16(),
            started.elapsed(),
        );
        response
    })
}

/// The answer of a handler, whether it is there with the handler's end or later.
async fn answer_of(answering: impl Future<Output = Result<Response, Infallible>>) -> Response {
    let mut response = match answering.await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match Later::take(&mut response) {
        Some(answering) => answering.await,
        None => response,
    }
}

/// Makes a problem of a refusal that is none, and keeps the headers beside it.
fn with_problem(mut response: Response) -> Response {
    if let Some(problem) = problem_of_stranger(&response) {
        response.extensions_mut().insert(problem);
    }
    response
}

/// Replaces an answer that carries a problem by the problem's body; any other answer stays.
fn write_problem(response: Response, info: &RequestInfo) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    problem.report(info, format_args!(""));
    problem.write(info)
}

/// Turns a panic of a handler into the problem `internal_error` of that request. The text of the
/// panic goes to the log only.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = panic_text(&*cause);
    Problem::from(codes::INTERNAL_ERROR).caused_by(format!("a panic: {text}")).into_response()
}
