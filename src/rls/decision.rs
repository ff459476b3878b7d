//! The decision about a request and the answer that tells it. `service` calls [`should_rate_limit`].

use axum::http::header;
use serde_json::Value;

use super::{
    descriptor::check_of,
    messages::{
        DescriptorStatus, Duration, LimitCode, RateLimit, RateLimitRequest, RateLimitResponse,
        ResponseHeader, Unit,
    },
};
use crate::{
    api::{Problem, check_space},
    auth::Principal,
    ratelimit::{Decided, HeaderForm, LimitState, MAX_CHECKS, PolicyCheck, codes, decide},
    store::{Context, Store},
    types::Id,
};

/// Takes the units of all descriptors, or denies the request and takes none. The answer has headers of this form.
///
/// # Errors
///
/// `validation_failed` or `invalid_id` for a request that names no limits, `space_not_allowed`, `policy_not_found`, and
/// the problems of the store.
pub(super) async fn should_rate_limit(
    store: &Store,
    form: HeaderForm,
    principal: Option<&Principal>,
    request: &RateLimitRequest,
) -> Result<RateLimitResponse, Problem> {
    let space = space(&request.domain)?;
    principal.map_or(Ok(()), |principal| check_space(principal, &space))?;
    let context = Context::of_space(space);
    let checks = checks(request)?;
    match decide(store, &context, checks.clone()).await {
        Ok(decided) => Ok(response(checks.len(), decided, form)),
        Err(problem) if problem.code() == codes::COST_EXCEEDS_LIMIT.code => {
            Ok(never_allowed(&checks, &problem))
        }
        Err(problem) => Err(problem),
    }
}

/// The space that a domain names.
fn space(domain: &str) -> Result<Id, Problem> {
    Id::try_from(domain.to_owned()).map_err(|invalid| Problem::invalid(&invalid, "/domain"))
}

fn checks(request: &RateLimitRequest) -> Result<Vec<PolicyCheck>, Problem> {
    if !(1..=MAX_CHECKS).contains(&request.descriptors.len()) {
        let detail = format!("There are 1 to {MAX_CHECKS} descriptors.");
        return Err(Problem::validation("/descriptors", detail));
    }
    let checks = request.descriptors.iter().enumerate().map(|(index, descriptor)| {
        let place = format!("/descriptors/{index}");
        check_of(descriptor, request.hits_addend).map_err(|problem| problem.prefix_pointer(&place))
    });
    checks.collect()
}

/// The answer to a request that was decided. A denial has the states of the violated limits only.
fn response(descriptors: usize, decided: Decided, form: HeaderForm) -> RateLimitResponse {
    let code = if decided.allowed { LimitCode::Ok } else { LimitCode::OverLimit };
    let mut statuses = vec![status(LimitCode::Ok); descriptors];
    for (index, state) in &decided.states {
        if let Some(status) = statuses.get_mut(*index) {
            *status = DescriptorStatus {
                code: code.into(),
                current_limit: Some(current_limit(state)),
                limit_remaining: state.left.map_or(0, |left| saturated(left.remaining)),
                duration_until_reset: state.left.map(|left| whole_seconds(left.effective_ms)),
            };
        }
    }
    let states: Vec<LimitState> = decided.states.into_iter().map(|(_, state)| state).collect();
    let mut response_headers_to_add = headers(form, &states);
    let waits = states.iter().filter_map(|state| state.left).map(|left| left.effective_ms);
    let wait = waits.max().unwrap_or_default();
    if !decided.allowed {
        let seconds = whole_seconds(wait).seconds.to_string();
        let key = header::RETRY_AFTER.as_str().to_owned();
        response_headers_to_add.push(ResponseHeader { key, value: seconds });
    }
    RateLimitResponse { overall_code: code.into(), statuses, response_headers_to_add }
}

/// The answer to a cost that no waiting makes room for. It is no error: the gateway would let the request pass.
fn never_allowed(checks: &[PolicyCheck], problem: &Problem) -> RateLimitResponse {
    let number = |name: &str| problem.member(name).and_then(Value::as_u64).unwrap_or_default();
    let index = check_index(problem).unwrap_or_default();
    let mut statuses = vec![status(LimitCode::Ok); checks.len()];
    if let (Some(status), Some(check)) = (statuses.get_mut(index), checks.get(index)) {
        let name = check.policy.as_str().to_owned();
        let requests_per_unit = saturated(number("limit"));
        status.code = LimitCode::OverLimit.into();
        status.current_limit = Some(RateLimit { requests_per_unit, unit: 0, name });
    }
    let overall_code = LimitCode::OverLimit.into();
    RateLimitResponse { overall_code, statuses, response_headers_to_add: Vec::new() }
}

/// The place of the check that a problem is about, where there are several: its pointer is `/checks/<index>/...`.
fn check_index(problem: &Problem) -> Option<usize> {
    let pointer = problem.member("errors")?.get(0)?.get("pointer")?.as_str()?;
    pointer.strip_prefix("/checks/")?.split('/').next()?.parse().ok()
}

fn status(code: LimitCode) -> DescriptorStatus {
    DescriptorStatus { code: code.into(), ..DescriptorStatus::default() }
}

/// The limit in Envoy's terms. A window that is none of its units has the unit `UNKNOWN`.
fn current_limit(state: &LimitState) -> RateLimit {
    let unit = match state.window_ms {
        1000 => Unit::Second,
        60_000 => Unit::Minute,
        3_600_000 => Unit::Hour,
        86_400_000 => Unit::Day,
        604_800_000 => Unit::Week,
        _ => Unit::Unknown,
    };
    RateLimit {
        requests_per_unit: saturated(state.limit),
        unit: unit.into(),
        name: state.name.clone(),
    }
}

fn headers(form: HeaderForm, states: &[LimitState]) -> Vec<ResponseHeader> {
    let headers = form.render(states);
    let header = |(name, value): (header::HeaderName, header::HeaderValue)| {
        let value = value.to_str().ok()?.to_owned();
        Some(ResponseHeader { key: name.as_str().to_owned(), value })
    };
    headers.into_iter().filter_map(header).collect()
}

/// Rounded up: Envoy reads the whole seconds only, and waiting that long has to be enough.
fn whole_seconds(ms: u64) -> Duration {
    Duration { seconds: i64::try_from(ms.div_ceil(1000)).unwrap_or(i64::MAX) }
}

fn saturated(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}
