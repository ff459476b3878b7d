//! `GET /monitoring/failures`: the newest calls that were refused or have failed, of all processes.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    flush::KEPT_FAILURES,
    window::{FAILURES, context},
};
use crate::{
    api::{Problem, Query},
    store::{Failure, Invocation, Operation, Store},
    types::{Code, Timestamp, codes},
};

/// The query parameters of the list of failures.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FailuresQuery {
    /// The most failures of the answer, 1 to 1000.
    #[serde(default = "FailuresQuery::default_limit")]
    #[param(minimum = 1, maximum = 1000, default = 10)]
    pub limit: u64,
    /// The only problem code to answer.
    #[param(example = "insufficient_funds")]
    pub code: Option<String>,
    /// The only operation to answer.
    #[param(example = "accounts/transfer")]
    pub operation: Option<String>,
    /// The moment at which the oldest failure may have been answered.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// The newest failures of all processes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failures {
    /// Calls that were refused or have failed, the newest first.
    failures: Vec<StoredFailure>,
}

/// A call that was refused or has failed. It has ids, and neither amounts nor metadata.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "failure_id": "0199f6c28f7a7c319d4e52a1b7f0c6aa-7",
    "at": "2026-02-01T11:06:40.912Z",
    "operation": "accounts/transfer",
    "code": "insufficient_funds",
    "status": 409,
    "outcome": "not_applied",
    "request_id": "0199f6c2-8f7a-7c31-9d4e-52a1b7f0c6aa",
    "part": "",
    "duration_ms": 0.82,
    "attempts": 1,
    "ids": { "account_id": "alice" }
}))]
pub struct StoredFailure {
    /// Id of the failure.
    failure_id: String,
    /// Moment of the answer, by the clock of Redis.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Name of the operation.
    operation: String,
    /// Problem code.
    code: String,
    /// HTTP status.
    status: u16,
    /// `not_applied` or `unknown`.
    outcome: String,
    /// Id of the request.
    request_id: String,
    /// Part of the request, such as `line 7` of a stream; empty for the whole.
    part: String,
    /// Time that the call took, in milliseconds.
    duration_ms: f64,
    /// Attempts that the call took; more than 1 only for `POST /transactions`.
    attempts: u64,
    /// What the problem is about, by the names of its members, such as `account_id`.
    ids: BTreeMap<String, String>,
    /// Id of the key with which the call was made; missing where the service had no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "4fTzPq81LmXw")]
    actor: Option<String>,
    /// Name that this key had then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "checkout")]
    actor_name: Option<String>,
}

impl FailuresQuery {
    fn default_limit() -> u64 {
        10
    }

    fn is_filtered(&self) -> bool {
        self.code.is_some() || self.operation.is_some() || self.since.is_some()
    }

    fn keeps(&self, failure: &StoredFailure) -> bool {
        self.code.as_ref().is_none_or(|code| *code == failure.code)
            && self.operation.as_ref().is_none_or(|operation| *operation == failure.operation)
            && self.since.is_none_or(|since| since <= failure.at)
    }
}

struct ReadFailures {
    most: u64,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
struct ReadFailuresReply {
    failures: Vec<String>,
}

impl Operation for ReadFailures {
    const NAME: &'static str = "monitoring/failures";
    const CODES: &'static [Code] = &[];
    type Reply = ReadFailuresReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.derived_key("failures_key", FAILURES, "newest").derived_arg("most", self.most);
    }
}

/// List recent failures
///
/// The newest calls of all processes that were refused or have failed. At most 1,000 are kept, and of one process
/// at most the newest 100 of a second. The log has the causes, under the ids of the requests.
#[utoipa::path(
    get,
    path = "/monitoring/failures",
    operation_id = ReadFailures::NAME,
    tag = "monitoring",
    params(FailuresQuery),
    responses((status = OK, body = Failures, description = "The failures.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn failures(
    State(store): State<Store>,
    Query(query): Query<FailuresQuery>,
) -> Result<Json<Failures>, Problem> {
    if !(1..=KEPT_FAILURES).contains(&query.limit) {
        let detail = format_args!("A limit is 1 to {KEPT_FAILURES}.");
        return Err(Problem::new(codes::INVALID_QUERY, detail));
    }
    let context = context().map_err(|error| Problem::invalid(&error, ""))?;
    let most = if query.is_filtered() { KEPT_FAILURES } else { query.limit };
    let texts = store.run(&ReadFailures { most }, &context).await?.reply.failures;
    let mut failures = Vec::new();
    for text in texts {
        let failure: StoredFailure = serde_json::from_str(&text)
            .map_err(|error| Failure::UnexpectedReply(format!("a failure: {error}")))?;
        if query.keeps(&failure) {
            failures.push(failure);
        }
    }
    failures.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    Ok(Json(Failures { failures }))
}
