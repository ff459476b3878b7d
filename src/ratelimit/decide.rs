//! One decision about the limits of several policies, for `rls`, whose callers speak no HTTP.

use serde_json::Value;

use super::{
    check::{OnDeny, RateLimitCheck},
    check_all::CheckSeveral,
    codes,
    headers::{LimitState, limits_of},
    limit::LimitRule,
};
use crate::{
    api::Problem,
    store::{Context, Store},
    types::{Id, LimitKey, limits::MAX_SAFE_INTEGER},
};

/// Units to take from the limit that a policy puts on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCheck {
    /// Name of the policy.
    pub policy: Id,
    /// Name of what is limited.
    pub key: LimitKey,
    /// Units to take: at least 1. More than 2^53 - 1 are more than any limit has.
    pub cost: u64,
}

/// The decision about all checks of a call.
#[derive(Debug)]
pub struct Decided {
    /// True if the units of all limits were taken, or a policy lets the call pass while the store is away; otherwise
    /// nothing was taken.
    pub allowed: bool,
    /// States of limits, each with the index of its check: of all limits where the call was allowed, and of the
    /// violated ones where it was denied.
    pub states: Vec<(usize, LimitState)>,
}

/// Takes the units of all checks in one script, or none. As over HTTP, a denial that this process remembers answers a
/// single check, and `on_store_error` of the policies answers while the store is away.
///
/// # Errors
///
/// `policy_not_found` and `cost_exceeds_limit`, with a pointer to the check (`/checks/<index>`) where there are several;
/// the problems of the store.
pub async fn decide(
    store: &Store,
    context: &Context,
    checks: Vec<PolicyCheck>,
) -> Result<Decided, Problem> {
    let checks = checks.into_iter().map(PolicyCheck::into_check).collect::<Result<Vec<_>, _>>()?;
    let states = match <[RateLimitCheck; 1]>::try_from(checks) {
        // A script of its own, which the checks of HTTP use too: calls of one script travel together.
        Ok([check]) => check.decide(store, context).await.map(|answer| limits_of(&answer).to_vec()),
        Err(checks) => {
            let several = CheckSeveral::new(checks, OnDeny::default());
            several.decide(store, context).await.map(|answer| limits_of(&answer).to_vec())
        }
    };
    match states {
        Ok(states) => {
            Ok(Decided { allowed: true, states: states.into_iter().enumerate().collect() })
        }
        Err(problem) if problem.code() == codes::RATE_LIMITED.code => {
            Ok(Decided { allowed: false, states: violated(&problem) })
        }
        Err(problem) => Err(problem),
    }
}

impl PolicyCheck {
    fn into_check(self) -> Result<RateLimitCheck, Problem> {
        let cost = self.cost.min(MAX_SAFE_INTEGER.unsigned_abs());
        RateLimitCheck::new(self.key, cost, LimitRule::Policy(self.policy))
    }
}

/// The limits that a denial names: its `violations`, or itself where there was one check.
fn violated(denial: &Problem) -> Vec<(usize, LimitState)> {
    let Some(violations) = denial.member("violations").and_then(Value::as_array) else {
        return vec![(0, LimitState::denied(|name| denial.member(name)))];
    };
    let state = |violation: &Value| {
        let index = usize::try_from(violation.get("index")?.as_u64()?).ok()?;
        Some((index, LimitState::denied(|name| violation.get(name))))
    };
    violations.iter().filter_map(state).collect()
}
