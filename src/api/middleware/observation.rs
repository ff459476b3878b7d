//! What is recorded of each request: its operation, for the statistics and the list of failures, and a line of the
//! access log. `middleware::around` records whole requests, `bulk` the lines of a stream.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use axum::http::Method;
use tokio::time::Instant;

use super::RequestInfo;
use crate::{
    api::{Outcome, Problem},
    telemetry::{CallOutcome, CallStatistics, FailedCall, OperationCalls},
    types::codes,
};

/// The statistics of a service, and which request belongs to which operation.
#[derive(Debug, Default)]
pub struct Observation {
    /// The calls of all operations; `None` to count none.
    statistics: Option<CallStatistics>,
    /// By path with placeholders: the operation of each method.
    routes: HashMap<String, Vec<(Method, Arc<OperationCalls>)>>,
    /// True to write a line of the log for each request.
    access_log: bool,
}

/// A call that has ended: a request, or a line of a stream.
#[derive(Debug)]
pub struct EndedCall<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The problem that was answered, if any.
    pub problem: Option<&'a Problem>,
    /// The time that it took.
    pub duration: Duration,
    /// The part of the request, such as `line 7`; empty for the whole.
    pub part: fmt::Arguments<'a>,
}

impl Observation {
    /// The observation of a service with these operations, each as its method, its path and its name.
    pub fn new(
        statistics: Option<CallStatistics>,
        operations: impl IntoIterator<Item = (Method, String, String)>,
        access_log: bool,
    ) -> Observation {
        let mut routes: HashMap<String, Vec<_>> = HashMap::new();
        for (method, path, name) in operations {
            let Some(statistics) = &statistics else { break };
            routes.entry(path).or_default().push((method, statistics.operation(&name)));
        }
        Observation { statistics, routes, access_log }
    }

    /// Where calls are counted.
    pub fn statistics(&self) -> Option<&CallStatistics> {
        self.statistics.as_ref()
    }

    /// The operation of a request that has met a route.
    pub(super) fn operation(&self, method: &Method, route: &str) -> Option<&Arc<OperationCalls>> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let methods = self.routes.get(route)?.iter();
        methods.filter(|(own, _)| own == method).map(|(_, calls)| calls).next()
    }

    /// Counts a call of an operation. One with a problem is kept among the failures.
    pub fn record(&self, calls: &OperationCalls, call: &EndedCall, info: &RequestInfo) {
        let outcome = match call.problem {
            Some(problem) if call.status < 500 => CallOutcome::Refused(problem.code()),
            Some(_) => CallOutcome::Failed,
            None => CallOutcome::Succeeded,
        };
        calls.record(outcome, call.duration);
        let Some(problem) = call.problem else { return };
        // Strangers must not push the failures of callers out of the list.
        let of_strangers = [codes::UNAUTHENTICATED.code, codes::TOO_MANY_FAILURES.code];
        if of_strangers.contains(&problem.code()) {
            return;
        }
        let Some(statistics) = &self.statistics else { return };
        statistics.record_failure(|| FailedCall {
            operation: Arc::clone(&calls.operation),
            code: problem.code(),
            status: call.status,
            request_id: info.request_id().to_owned(),
            part: call.part.to_string(),
            at: Instant::now(),
            duration: call.duration,
            attempts: problem.attempts(),
            outcome: match problem.outcome() {
                Outcome::NotApplied => "not_applied",
                Outcome::Unknown => "unknown",
            },
            ids: problem.ids(),
            actor: info
                .principal
                .as_ref()
                .map(|caller| (caller.key_id.to_string(), caller.name.clone())),
        });
    }

    /// Writes the line of the access log of a request, where that is asked for. It has the path with placeholders
    /// and nothing that the caller has sent but the ids of request and trace.
    pub(super) fn log(
        &self,
        method: &Method,
        route: &str,
        status: u16,
        duration: Duration,
        info: &RequestInfo,
    ) {
        if !self.access_log {
            return;
        }
        tracing::info!(
            target: "lockstep::access",
            method = method.as_str(),
            route,
            status,
            duration_ms = (duration.as_nanos() / 100) as f64 / 10_000.0,
            request_id = info.request_id(),
            trace_id = info.trace_id.as_deref(),
            "call"
        );
    }
}
