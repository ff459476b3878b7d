//! `GET /ratelimit/authorize`: asks for a gateway whether a request may pass. nginx (`auth_request`), Caddy
//! (`forward_auth`), Traefik (`ForwardAuth`), HAProxy and Envoy (`ext_authz`) call it with their caller's request in
//! mind, so it reads nothing of what that caller has sent but what the gateway has set.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{
    check::{RateLimitCheck, check_cost},
    codes,
    limit::LimitRule,
};
use crate::{
    api::{CallerSpace, Problem, Query},
    store::{Context, Store},
    types::{Id, Invalid, LimitKey, codes as general},
};

const POLICY: &str = "Lockstep-Policy";
const KEY: &str = "Lockstep-Key";
const COST: &str = "Lockstep-Cost";
const LEASE: HeaderName = HeaderName::from_static("lockstep-lease");

/// The query parameters of an authorization. What the query has wins over the headers, which a gateway may have
/// taken over from its caller.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuthorizeQuery {
    /// Policy to check; without it, that of the header `Lockstep-Policy`.
    #[param(value_type = Id, required = false, example = "api")]
    pub policy: Option<Id>,
    /// Name of what is limited; without it, that of the header `Lockstep-Key`.
    #[param(value_type = LimitKey, required = false)]
    pub key: Option<LimitKey>,
    /// Units to take; without it, those of the header `Lockstep-Cost`, and else 1.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub cost: Option<u64>,
    /// Status of a denial; `429` without it.
    #[serde(default)]
    #[param(inline)]
    pub deny_status: DenyStatus,
}

/// The status of a denial, for gateways that take no other for one: nginx makes 500 of a 429.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum DenyStatus {
    /// 429 Too Many Requests.
    #[default]
    #[serde(rename = "429")]
    TooManyRequests,
    /// 401 Unauthorized.
    #[serde(rename = "401")]
    Unauthorized,
    /// 403 Forbidden.
    #[serde(rename = "403")]
    Forbidden,
}

impl DenyStatus {
    fn status(self) -> StatusCode {
        match self {
            DenyStatus::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            DenyStatus::Unauthorized => StatusCode::UNAUTHORIZED,
            DenyStatus::Forbidden => StatusCode::FORBIDDEN,
        }
    }
}

/// Makes the check that a gateway asks for.
fn requested(
    query: AuthorizeQuery,
    headers: &HeaderMap,
) -> Result<(RateLimitCheck, DenyStatus), Problem> {
    let AuthorizeQuery { policy, key, cost, deny_status } = query;
    let policy = match policy {
        Some(policy) => policy,
        None => required(POLICY, "policy", headers, Id::try_from)?,
    };
    let key = match key {
        Some(key) => key,
        None => required(KEY, "key", headers, LimitKey::try_from)?,
    };
    let cost = match cost {
        Some(cost) => cost,
        None => header(COST, headers, whole_number)?.unwrap_or(1),
    };
    check_cost(cost)
        .map_err(|_| Problem::new(general::INVALID_QUERY, "A cost is 1 to 2^53 - 1."))?;
    Ok((RateLimitCheck::new(key, cost, LimitRule::Policy(policy))?, deny_status))
}

/// Reads a header that stands for a parameter which the query does not have.
fn required<T>(
    name: &str,
    parameter: &str,
    headers: &HeaderMap,
    read: impl FnOnce(String) -> Result<T, Invalid>,
) -> Result<T, Problem> {
    header(name, headers, read)?.ok_or_else(|| {
        let detail = format!("Name the {parameter} in the query, or in the header {name}.");
        Problem::new(general::INVALID_QUERY, detail)
    })
}

/// Reads a header that is there once, as UTF-8; `None` where it is not there.
fn header<T>(
    name: &str,
    headers: &HeaderMap,
    read: impl FnOnce(String) -> Result<T, Invalid>,
) -> Result<Option<T>, Problem> {
    let refuse = |invalid: &Invalid| {
        let code = general::of_value(invalid.code);
        let error = json!({ "pointer": "", "header": name, "detail": invalid.detail });
        Problem::new(code, format_args!("The header {name}: {}", invalid.detail))
            .with("header", name)
            .with("errors", vec![error])
    };
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let invalid = Invalid::new("validation_failed", "It is given once.");
        return Err(refuse(&invalid));
    }
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    read(text).map(Some).map_err(|invalid| refuse(&invalid))
}

fn whole_number(text: String) -> Result<u64, Invalid> {
    // A number for Rust may begin with a plus.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| Invalid::new("validation_failed", "A cost is 1 to 2^53 - 1."))
}

/// Decides, and answers `allowed` without a body, or the denial.
async fn answer(
    store: &Store,
    space: Id,
    query: AuthorizeQuery,
    headers: &HeaderMap,
    allowed: StatusCode,
) -> Result<Response, Problem> {
    let (check, deny_status) = requested(query, headers)?;
    // An idempotency key or a guard would be that of the gateway's caller, who could pass for ever under one key.
    let decided = check.decide(store, &Context::of_space(space)).await;
    let answer = decided.map_err(|problem| {
        let is_denial = problem.code() == codes::RATE_LIMITED.code;
        if is_denial { problem.with_status(deny_status.status()) } else { problem }
    })?;
    let lease = answer.body().lease_id.as_deref().and_then(|id| HeaderValue::try_from(id).ok());
    Ok(match lease {
        Some(lease) => answer.with_header(LEASE, lease).without_body(allowed),
        None => answer.without_body(allowed),
    })
}

/// Authorize a request of a gateway
///
/// Checks a policy as `POST /ratelimit` does, in a form that gateways understand: 204 without a body where the request
/// may pass, and otherwise the problem `rate_limited` with the status that `deny_status` names. Both carry the headers
/// of the limit; a denial also has `Retry-After`. Policy, key and cost are in the query or in the headers
/// `Lockstep-Policy`, `Lockstep-Key` and `Lockstep-Cost`. The lease of a `concurrency` policy is in the header
/// `Lockstep-Lease`, for the one who gives it back. An `Idempotency-Key` and a `Lockstep-Guard` are ignored: they are those
/// of the gateway's caller.
#[utoipa::path(
    get,
    path = "/ratelimit/authorize",
    operation_id = "ratelimit/authorize",
    tag = "ratelimit",
    params(
        AuthorizeQuery,
        ("Lockstep-Policy" = Option<Id>, Header, description = "Policy to check, where the query has none.", example = "api"),
        ("Lockstep-Key" = Option<LimitKey>, Header, description = "Name of what is limited, where the query has none."),
        ("Lockstep-Cost" = Option<u64>, Header, description = "Units to take, where the query has none.",
            minimum = 1, maximum = 9_007_199_254_740_991_u64),
    ),
    responses(
        (status = NO_CONTENT, description = "The request may pass; the units were taken."),
        (status = UNAUTHORIZED, description = "The denial `rate_limited`, with `deny_status=401`."),
        (status = FORBIDDEN, description = "The denial `rate_limited`, with `deny_status=403`."),
    ),
    extensions(("x-access" = json!("ratelimit:write")), ("x-refusals" = json!([
        "invalid_query", "invalid_id", "validation_failed", "policy_not_found", "cost_exceeds_limit", "rate_limited",
        "overloaded", "shutting_down", "store_unavailable", "store_busy", "store_loading", "store_readonly",
        "store_out_of_memory", "outcome_unknown", "internal_error"
    ]))),
)]
pub async fn authorize(
    State(store): State<Store>,
    Query(query): Query<AuthorizeQuery>,
    CallerSpace(space): CallerSpace,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&store, space, query, &headers, StatusCode::NO_CONTENT).await
}

/// The same for Envoy, which sends the method and appends the path of its caller's request, and lets pass only what is
/// answered 200. Everything is in the headers: the query is that of the caller.
pub async fn authorize_path(
    State(store): State<Store>,
    CallerSpace(space): CallerSpace,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&store, space, AuthorizeQuery::default(), &headers, StatusCode::OK).await
}
