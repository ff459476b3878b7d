//! The calls of a connection: the one method of the rate limit service, and the health service beside it.
//! `connection` hands each request to [`Service::answer`].

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{HeaderMap, Method, Request, Response};
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::{Status, body::Body, metadata::MetadataValue, server::Grpc};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_prost::ProstCodec;
use tracing::Instrument;

use super::{
    decision::should_rate_limit,
    messages::{LimitCode, RateLimitRequest, RateLimitResponse, SHOULD_RATE_LIMIT},
};
use crate::{
    api::{
        AccessControl, EndedCall, Limits, Observation, Problem, RequestInfo, ShutdownGate,
        read_body,
    },
    ratelimit::{HeaderForm, codes},
    store::Store,
    telemetry::{CallStatistics, record_request},
};

/// The name under which statistics have the calls of gateways. One is a call, whatever number of limits it checks.
const OPERATION: &str = "rls/should_rate_limit";

/// The operation that a gateway's key has to allow.
const REQUIRED_OPERATION: &str = "ratelimit/authorize";

/// The beginning of all paths of the health service.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    store: Store,
    limits: Limits,
    limit_headers: HeaderForm,
    /// Empty: gRPC has no prefix of paths.
    base_path: Arc<str>,
    /// The statistics that calls go into. It knows no routes of HTTP.
    observation: Arc<Observation>,
    /// The check of gateways' keys; `None` where the service has none.
    access: Option<Arc<AccessControl>>,
    health: HealthServer<HealthService>,
}

impl Service {
    pub(super) fn new(
        store: Store,
        gate: &ShutdownGate,
        limits: Limits,
        limit_headers: HeaderForm,
        statistics: Option<CallStatistics>,
        health: HealthReporter,
    ) -> Service {
        let health = HealthServer::new(HealthService::from_health_reporter(health));
        let health = health.max_decoding_message_size(limits.body_bytes);
        Service {
            store,
            limits,
            limit_headers,
            base_path: Arc::from(""),
            observation: Arc::new(Observation::new(statistics, [], false)),
            access: gate.access().cloned(),
            health,
        }
    }

    /// Answers one request. Every error of gRPC is an answer too.
    pub(super) async fn answer(
        mut self,
        request: Request<Incoming>,
        peer: Option<IpAddr>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        if path.starts_with(HEALTH) {
            return tower::Service::call(&mut self.health, request).await;
        }
        if path != SHOULD_RATE_LIMIT {
            let sentence = format!("There is {SHOULD_RATE_LIMIT} and the health service.");
            return Ok(Status::unimplemented(sentence).into_http());
        }
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let (limits, base_path) = (self.limits, self.base_path);
        let mut info = RequestInfo::of(
            &head.headers,
            limits.clone(),
            base_path,
            self.observation,
            self.access,
        );
        let body = axum::body::Body::new(body);
        let admitted = admit(&mut info, &head.headers, peer);
        let read = async { admitted.map(|()| read_body(body, &limits))?.await };
        let message = match read.await {
            Ok(message) => Request::from_parts(head, Full::new(message)),
            Err(problem) => {
                problem.report(&info, format_args!(""));
                record(Some(&problem), started, &info);
                return Ok(status_of(&problem, &info).into_http());
            }
        };
        let codec = ProstCodec::<RateLimitResponse, RateLimitRequest>::default();
        let form = self.limit_headers;
        let call = ShouldRateLimit { store: self.store, form, info, started };
        let mut method = Grpc::new(codec).max_decoding_message_size(limits.body_bytes);
        Ok(method.unary(call, message).await)
    }
}

/// Checks the key of a gateway, which is in the metadata `authorization`, and notes in `info` whose it is.
fn admit(
    info: &mut RequestInfo,
    metadata: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<(), Problem> {
    if let Some(access) = &info.access {
        info.principal = Some(access.admit_operation(REQUIRED_OPERATION, metadata, peer)?);
    }
    Ok(())
}

/// One call of the method, as tonic runs it once the message is decoded.
struct ShouldRateLimit {
    store: Store,
    form: HeaderForm,
    info: RequestInfo,
    started: Instant,
}

impl tower::Service<tonic::Request<RateLimitRequest>> for ShouldRateLimit {
    type Response = tonic::Response<RateLimitResponse>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<RateLimitRequest>) -> Self::Future {
        let (store, info, started) = (self.store.clone(), self.info.clone(), self.started);
        let form = self.form;
        let span = tracing::debug_span!(
            "request",
            request_id = info.request_id(),
            route = SHOULD_RATE_LIMIT,
            trace_id = info.trace_id.as_deref(),
        );
        // A denial is counted as the problem that it is over HTTP. Its figures are in the answer.
        let denial = Problem::from(codes::RATE_LIMITED);
        let decide = async move {
            let principal = info.principal.as_deref();
            let result = should_rate_limit(&store, form, principal, request.get_ref()).await;
            let problem = match &result {
                Ok(response) if response.overall_code() == LimitCode::Ok => None,
                Ok(_) => Some(&denial),
                Err(problem) => {
                    problem.report(&info, format_args!(""));
                    Some(problem)
                }
            };
            record(problem, started, &info);
            result.map(tonic::Response::new).map_err(|problem| status_of(&problem, &info))
        };
        Box::pin(decide.instrument(span))
    }
}

/// Counts a call beside those of HTTP, with the status that it would have there.
fn record(problem: Option<&Problem>, started: Instant, info: &RequestInfo) {
    let status = problem.map_or(200, |problem| problem.status().as_u16());
    let duration = started.elapsed();
    record_request(&Method::POST, SHOULD_RATE_LIMIT, status, duration);
    if let Some(statistics) = info.observation.statistics() {
        let call = EndedCall { status, problem, duration, part: format_args!("") };
        info.observation.record(&statistics.operation(OPERATION), &call, info);
    }
}

/// The status of gRPC that has the meaning of a problem. Its message begins with the code of the problem, and its
/// metadata have the id under which the log has the cause.
fn status_of(problem: &Problem, info: &RequestInfo) -> Status {
    let code = match problem.status().as_u16() {
        400 | 422 => tonic::Code::InvalidArgument,
        401 => tonic::Code::Unauthenticated,
        403 => tonic::Code::PermissionDenied,
        404 => tonic::Code::NotFound,
        408 | 504 => tonic::Code::DeadlineExceeded,
        413 | 429 => tonic::Code::ResourceExhausted,
        503 => tonic::Code::Unavailable,
        _ => tonic::Code::Internal,
    };
    let mut status = Status::new(code, format!("{}: {}", problem.code(), problem.detail()));
    if let Ok(id) = MetadataValue::try_from(info.request_id()) {
        status.metadata_mut().insert("x-request-id", id);
    }
    status
}
