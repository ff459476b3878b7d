use std::{any::Any, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::Instrument;
use uuid::Uuid;

use super::Problem;
use crate::{store::Failure, types::codes};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: &str = "traceparent";

/// What a request may take of time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the last byte of the head to the last one of the body.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_timeout: Duration::from_secs(10) }
    }
}

/// Beside every request that came in by the door.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// What it may take of time.
    pub limits: Limits,
    /// Its id, as the answer will name it.
    pub request_id: HeaderValue,
}

/// The door of the service: whether it is open, and who is inside.
#[derive(Debug, Clone, Default)]
pub struct ShutdownGate {
    limits: Limits,
    inside: TaskTracker,
    closed: CancellationToken,
}

/// Somebody who is inside, until this is dropped.
#[derive(Debug)]
pub struct InFlight(#[expect(dead_code, reason = "it counts by being there")] TaskTrackerToken);

impl ShutdownGate {
    /// An open one.
    pub fn new(limits: Limits) -> ShutdownGate {
        ShutdownGate { limits, ..ShutdownGate::default() }
    }

    /// Lets nobody else in.
    pub fn close(&self) {
        self.closed.cancel();
        self.inside.close();
    }

    /// Waits until nobody else is let in.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Whether nobody else is let in.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits, after [`Gate::close`], until all who are inside have their answer.
    pub async fn drained(&self) {
        self.inside.wait().await;
    }

    /// Lets one more in, unless it is closed.
    pub fn enter(&self) -> Option<InFlight> {
        // Counted first and asked second, so that nobody slips in between.
        let inside = InFlight(self.inside.token());
        (!self.is_closed()).then_some(inside)
    }
}

/// What happens to every request: it gets its id and its span, its problem is written out, and it
/// is counted.
pub async fn entrance(
    State(gate): State<ShutdownGate>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = request_id(&request);
    let trace_id = trace_id(&request).map(str::to_owned);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let entered = RequestInfo { limits: gate.limits, request_id: request_id.clone() };
    request.extensions_mut().insert(entered);

    let response = match gate.enter() {
        None => Problem::from(codes::SHUTTING_DOWN)
            .with_header(header::CONNECTION, HeaderValue::from_static("close"))
            .into_response(),
        Some(_inside) => {
            let span = tracing::debug_span!(
                "request",
                request_id = text(&request_id),
                route = route.as_ref().map(MatchedPath::as_str),
                trace_id,
            );
            next.run(request).instrument(span).await
        }
    };
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => {
            problem.count();
            log(problem, text(&request_id), trace_id.as_deref());
            let mut written = problem.write(text(&request_id));
            if let Some(allow) = response.headers().get(header::ALLOW) {
                written.headers_mut().insert(header::ALLOW, allow.clone());
            }
            written
        }
        None => response,
    };
    response.headers_mut().insert(REQUEST_ID, request_id);
    crate::telemetry::record_request(
        route.as_ref().map_or("none", MatchedPath::as_str),
        response.status().as_u16(),
        started.elapsed(),
    );
    response
}

/// Problems are logged here and nowhere else, where the ids of the request are known.
fn log(problem: &Problem, request_id: &str, trace_id: Option<&str>) {
    let code = problem.word();
    match &problem.cause {
        None => tracing::debug!(request_id, trace_id, code, "refused"),
        Some(cause @ (Failure::Script(_) | Failure::Torn(_) | Failure::UnexpectedReply(_))) => {
            tracing::error!(request_id, trace_id, code, %cause, "an operation failed");
        }
        Some(cause) => tracing::warn!(request_id, trace_id, code, %cause, "no answer of the store"),
    }
}

/// The caller's id for the request, if it is fit for a log, or a new one.
fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// The trace that the caller is in: the second part of `traceparent`, W3C Trace Context.
fn trace_id(request: &Request) -> Option<&str> {
    let parent = request.headers().get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = parent.split('-');
    let id = parts.nth(1)?;
    let hexadecimal = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (id.len() == 32 && hexadecimal && parts.count() >= 2).then_some(id)
}

/// A panic in a handler ends that request and nothing else.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(cause = text, "a handler panicked");
    Problem::from(codes::INTERNAL_ERROR).into_response()
}
