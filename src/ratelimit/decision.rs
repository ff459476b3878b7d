//! The decision of a limit and the headers that carry it, for every call that checks one.

use axum::http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{Answer, Problem},
    types::{Id, LimitKey},
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The decision of a rate limit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "key": "tenant-7",
    "allowed": true,
    "limit": 100,
    "remaining": 99,
    "retry_after_ms": 0,
    "reset_after_ms": 100,
    "cost": 1
}))]
pub struct Decision {
    /// Name of what is limited.
    pub key: LimitKey,
    /// Policy whose rule was checked; missing for a rule of the call's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Id>,
    /// True if the units were taken, or the policy only counts.
    pub allowed: bool,
    /// The most units at once: `capacity` of a token bucket, `limit` of every other algorithm.
    pub limit: u64,
    /// Units that are left after this check.
    pub remaining: u64,
    /// Milliseconds after which a denied check would be allowed; 0 for one that was allowed.
    pub retry_after_ms: u64,
    /// Milliseconds after which the limit is whole again if nothing more is taken.
    pub reset_after_ms: u64,
    /// Units that were asked for.
    pub cost: u64,
    /// Id of the lease, of a `concurrency` limit only: `POST /ratelimit/release` gives it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<String>,
    /// True where a policy that only counts would have denied the check. Nothing was taken then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow_denied: bool,
}

/// What the headers `RateLimit-Policy` and `RateLimit` say of one limit
/// (draft-ietf-httpapi-ratelimit-headers-10). Both are rendered here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderState {
    /// Name of the policy, `default` for a rule of the call's own.
    pub name: String,
    /// The quota `q`.
    pub limit: u64,
    /// The window `w`, in milliseconds.
    pub window_ms: u64,
    /// The remaining units `r`.
    pub remaining: u64,
    /// The time `t`, in milliseconds: until the denied check would be allowed, or else until the limit is
    /// whole again.
    pub effective_ms: u64,
}

impl HeaderState {
    /// Reads the state of a limit from the members of the refusal `rate_limited`.
    pub fn of_refusal(members: &Map<String, Value>) -> HeaderState {
        let number = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or_default();
        let name = members.get("policy").and_then(Value::as_str).unwrap_or("default");
        HeaderState {
            name: name.to_owned(),
            limit: number("limit"),
            window_ms: number("window_ms"),
            remaining: number("remaining"),
            effective_ms: number("retry_after_ms"),
        }
    }

    /// The values of `RateLimit-Policy` and of `RateLimit`: lists with an item for each limit. Times are in
    /// seconds, rounded up.
    fn values(states: &[HeaderState]) -> (HeaderValue, HeaderValue) {
        let mut policies = Vec::with_capacity(states.len());
        let mut items = Vec::with_capacity(states.len());
        for HeaderState { name, limit, window_ms, remaining, effective_ms } in states {
            let (window, time) = (window_ms.div_ceil(1000), effective_ms.div_ceil(1000));
            policies.push(format!("\"{name}\";q={limit};w={window}"));
            items.push(format!("\"{name}\";r={remaining};t={time}"));
        }
        let value = |list: Vec<String>| {
            HeaderValue::try_from(list.join(", ")).unwrap_or(HeaderValue::from_static(""))
        };
        (value(policies), value(items))
    }

    /// The headers that an answer about these limits carries.
    pub fn headers(states: &[HeaderState]) -> Vec<(HeaderName, HeaderValue)> {
        let (policy, state) = HeaderState::values(states);
        vec![(POLICY, policy), (STATE, state)]
    }

    /// Adds the headers to an answer.
    pub fn add_to_answer<T>(states: &[HeaderState], answer: Answer<T>) -> Answer<T> {
        let headers = HeaderState::headers(states).into_iter();
        headers.fold(answer, |answer, (name, value)| answer.with_header(name, value))
    }

    /// Adds the headers to a problem.
    pub fn add_to_problem(states: &[HeaderState], problem: Problem) -> Problem {
        let headers = HeaderState::headers(states).into_iter();
        headers.fold(problem, |problem, (name, value)| problem.with_header(name, value))
    }
}
