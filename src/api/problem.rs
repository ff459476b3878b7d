//! Errors as callers read them: `application/problem+json` (RFC 9457).

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::RequestInfo;
use crate::{
    store::{self, Completed, Failure, Refusal},
    telemetry::{LoggedFailure, log_failure},
    types::{Code, Invalid, codes},
};

/// An error on its way to the caller. [`super::middleware::around`] writes its body, because only
/// there the id of the request is known.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(super) code: Code,
    detail: String,
    outcome: Outcome,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The failure behind it, for the log only; `None` for a refusal.
    cause: Option<String>,
}

/// The known effect of a call that failed.
///
/// - `not_applied`: nothing has changed.
/// - `unknown`: the call was sent to Redis, and nothing says whether it happened.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing has changed.
    NotApplied,
    /// The call was sent to Redis, and nothing says whether it happened.
    Unknown,
}

/// The body of every error (RFC 9457). Most codes add members of their own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/problems/insufficient_funds",
    "title": "Not enough money",
    "status": 409,
    "detail": "The account alice has 4.00 USD available, and 10.00 is required.",
    "code": "insufficient_funds",
    "request_id": "0199f6c2-8f7a-7c31-9d4e-52a1b7f0c6aa",
    "retryable": false,
    "outcome": "not_applied",
    "account_id": "alice",
    "available": "4.00",
    "required": "10.00",
    "currency": "USD"
}))]
pub struct ProblemBody<'a> {
    /// The path that explains the code: `/problems/<code>`, after the base path of the service.
    #[serde(rename = "type")]
    kind: String,
    /// A short name of the code, the same in every answer.
    title: &'a str,
    /// The HTTP status of the answer.
    status: u16,
    /// A sentence about this case, for people.
    detail: &'a str,
    /// The code that programs compare.
    code: &'a str,
    /// The id of the request, which the header `X-Request-Id` has too.
    request_id: &'a str,
    /// True if the same call may succeed when it is sent again a little later.
    retryable: bool,
    /// The known effect of the call.
    outcome: Outcome,
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem whose call has changed nothing, with a sentence for this case.
    pub fn new(code: Code, detail: impl Display) -> Problem {
        Problem {
            code,
            detail: detail.to_string(),
            outcome: Outcome::NotApplied,
            members: Map::new(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// A refused value of the body; `pointer` is a JSON Pointer (RFC 6901) to it, empty for the whole
    /// body.
    pub fn invalid(invalid: &Invalid, pointer: &str) -> Problem {
        let code = codes::of_value(invalid.code);
        let error = serde_json::json!({ "pointer": pointer, "detail": invalid.detail });
        let place = if pointer.is_empty() { "the body" } else { pointer };
        Problem::new(code, format_args!("At {place}: {}", invalid.detail))
            .with("errors", Value::Array(vec![error]))
    }

    /// A `validation_failed` for the value at `pointer` (RFC 6901; empty for the whole body).
    pub fn validation(pointer: &str, detail: impl Into<String>) -> Problem {
        Problem::invalid(&Invalid::new("validation_failed", detail), pointer)
    }

    /// A refusal that the service decides without asking Redis. The members fill the template of
    /// the code's `detail`.
    pub fn refused<const N: usize>(code: Code, members: [(&str, Value); N]) -> Problem {
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut problem = Problem::new(code, code.render(&members));
        problem.members = members;
        problem
    }

    /// Adds a member, or replaces the one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same problem with another sentence for this case.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = detail.into();
        self
    }

    /// The same problem of a call that may have had an effect.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Problem {
        self.outcome = Outcome::Unknown;
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds headers to the answer, for a layer that finds the problem on its way.
    pub fn add_headers(&mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) {
        self.headers.extend(headers);
    }

    /// Moves the pointers of `errors` into a larger body, in which the refused one is at `place`.
    #[must_use]
    pub fn prefix_pointer(mut self, place: &str) -> Problem {
        if let Some(Value::Array(errors)) = self.members.get_mut("errors") {
            for error in errors {
                let Some(Value::String(pointer)) = error.get_mut("pointer") else { continue };
                let inner = if pointer.is_empty() { "the body" } else { pointer.as_str() };
                self.detail = self.detail.replacen(inner, &format!("{place}{pointer}"), 1);
                pointer.insert_str(0, place);
            }
        }
        self
    }

    /// The same problem with another status, for callers who understand only that one.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Problem {
        self.code.status = status.as_u16();
        self
    }

    /// The code that programs compare, such as `insufficient_funds`.
    pub fn code(&self) -> &'static str {
        self.code.code
    }

    /// The body of the answer to the request that `info` is of.
    pub fn body<'a>(&'a self, info: &'a RequestInfo) -> ProblemBody<'a> {
        ProblemBody {
            kind: format!("{}/problems/{}", info.base_path, self.code.code),
            title: self.code.title,
            status: self.code.status,
            detail: &self.detail,
            code: self.code.code,
            request_id: info.request_id(),
            retryable: self.code.retryable,
            outcome: self.outcome,
            members: &self.members,
        }
    }

    /// The sentence about this case.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The known effect of the call.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// A member beside those of RFC 9457, such as `available`.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// The members that name a thing, such as `account_id` or `lock`, by their names. Amounts, metadata and what
    /// a caller's key of a limit may say of a person are none.
    pub fn ids(&self) -> BTreeMap<String, String> {
        let ids = self.members.iter().filter_map(|(name, value)| {
            let names_a_thing =
                name.ends_with("_id") || ["lock", "counter"].contains(&name.as_str());
            Some((name.clone(), value.as_str().filter(|_| names_a_thing)?.to_owned()))
        });
        ids.collect()
    }

    /// The attempts that the call took; 1 where it tells none.
    pub fn attempts(&self) -> u64 {
        self.members.get("attempts").and_then(Value::as_u64).unwrap_or(1)
    }

    /// True for the stored answer to an earlier call under the same idempotency key.
    pub fn is_replay(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == super::REPLAYED)
    }

    /// Adds the failure behind the problem, which only the log tells.
    #[must_use]
    pub fn caused_by(mut self, cause: String) -> Problem {
        self.cause = Some(cause);
        self
    }

    /// Counts the problem in the metrics and logs it, once, when it is written for the caller of this
    /// request. `part` says which part of the request it answers, such as `line 7`; empty for the whole.
    pub fn report(&self, info: &RequestInfo, part: fmt::Arguments) {
        let code = self.code();
        metrics::counter!("lockstep_problems_total", "code" => code).increment(1);
        let (request_id, trace_id) = (info.request_id(), info.trace_id.as_deref());
        match &self.cause {
            None => tracing::debug!(request_id, trace_id, code, %part, "refused"),
            Some(cause) => log_failure(&LoggedFailure {
                is_fault: self.code.status == 500,
                code,
                cause: cause.clone(),
                request_id,
                trace_id,
                part,
            }),
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The whole answer.
    pub(super) fn write(&self, info: &RequestInfo) -> Response {
        let mut response = (self.status(), axum::Json(self.body(info))).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.code.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        response
    }
}

/// Puts the problem beside an empty response, until [`super::middleware::around`] writes it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        match error {
            store::Error::Refused(refused) => refused.into(),
            store::Error::KeyReused => codes::IDEMPOTENCY_KEY_REUSED.into(),
            store::Error::TooLarge { what, count, most } => {
                let detail = format!(
                    "These operations need {count} {what} for Redis, and one script has {most} at most."
                );
                Problem::validation("/operations", detail)
            }
            store::Error::Failed(failure) => failure.into(),
        }
    }
}

impl From<Completed<Refusal>> for Problem {
    fn from(refused: Completed<Refusal>) -> Problem {
        let Completed { reply: Refusal { code, members }, replayed } = refused;
        let mut problem = Problem::new(*code, code.render(&members));
        problem.members = members;
        // A value that only the script can check is pointed at like one that the service refuses.
        if let Some(Value::String(field)) = problem.members.get("field") {
            let pointer = format!("/{field}");
            let error = serde_json::json!({ "pointer": pointer, "detail": problem.detail });
            problem = problem.with("errors", vec![error]);
        }
        if let Some(ms) = problem.members.get("retry_after_ms").and_then(Value::as_u64) {
            problem = problem.with_header(header::RETRY_AFTER, ms.div_ceil(1000));
        }
        if replayed {
            problem = problem.with_header(super::REPLAYED, HeaderValue::from_static("true"));
        }
        problem
    }
}

/// For a code whose sentence needs no members.
impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem::new(code, code.detail_template)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let code = match &failure {
            Failure::Overloaded => codes::OVERLOADED,
            Failure::ShuttingDown => codes::SHUTTING_DOWN,
            Failure::Unavailable(_) | Failure::Redirected(_) | Failure::SlotUnavailable(_) => {
                codes::STORE_UNAVAILABLE
            }
            Failure::Busy(_) | Failure::PrerequisiteRequired { .. } => codes::STORE_BUSY,
            Failure::Loading(_) => codes::STORE_LOADING,
            Failure::ReadOnly(_) => codes::STORE_READONLY,
            Failure::OutOfMemory(_) => codes::STORE_OUT_OF_MEMORY,
            Failure::Unknown { .. } => codes::OUTCOME_UNKNOWN,
            Failure::NotDurable { .. } => codes::NOT_DURABLE,
            Failure::Script(_)
            | Failure::NotIsolated
            | Failure::Torn(_)
            | Failure::UnexpectedReply(_) => codes::INTERNAL_ERROR,
        };
        let mut problem = Problem::from(code);
        problem.cause = Some(failure.to_string());
        if failure.may_have_written() {
            problem.outcome = Outcome::Unknown;
        }
        if let Failure::NotDurable { reached, wanted, .. } = failure {
            problem = problem.with("required", wanted);
            if let Some(reached) = reached {
                problem = problem.with("replicas", reached);
            }
        }
        if let Failure::Unknown { retry_safe, .. } | Failure::NotDurable { retry_safe, .. } =
            failure
        {
            problem.code.retryable = retry_safe;
            if !retry_safe {
                problem.detail.push_str(
                    " This call had none: read what it would have changed before you send it again.",
                );
            }
        }
        problem
    }
}
