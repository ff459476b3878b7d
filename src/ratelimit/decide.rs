//! One decision about the limits of several policies, for `rls`, whose callers speak no HTTP.

use serde_json::{Map, Value};

use super::{
    check::RateLimitCheck, check_all::CheckSeveral, codes, decision::HeaderState, limit::LimitRule,
};
use crate::{
    api::Problem,
    store::{self, Context, Store},
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
    /// True if the units of all limits were taken; otherwise none were.
    pub allowed: bool,
    /// States of limits, each with the index of its check: of all limits where the call was allowed, and of the
    /// violated ones where it was denied.
    pub states: Vec<(usize, HeaderState)>,
}

/// Takes the units of all checks in one script, or none.
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
    let rules: Vec<LimitRule> = checks.iter().map(|check| check.rule.clone()).collect();
    let replies = match <[RateLimitCheck; 1]>::try_from(checks) {
        // A script of its own, which the checks of HTTP use too: calls of one script travel together.
        Ok([check]) => store.run(&check, context).await.map(|done| vec![done.reply]),
        Err(checks) => {
            let completed = store.run(&CheckSeveral::new(checks), context).await;
            completed.map(|done| done.reply.results)
        }
    };
    match replies {
        Ok(replies) => {
            let states = replies.iter().zip(&rules).map(|(reply, rule)| reply.header_state(rule));
            Ok(Decided { allowed: true, states: states.enumerate().collect() })
        }
        Err(store::Error::Refused(denied)) if denied.reply.code == &codes::RATE_LIMITED => {
            Ok(Decided { allowed: false, states: violated(&denied.reply.members) })
        }
        Err(error) => Err(error.into()),
    }
}

impl PolicyCheck {
    fn into_check(self) -> Result<RateLimitCheck, Problem> {
        let cost = self.cost.min(MAX_SAFE_INTEGER.unsigned_abs());
        RateLimitCheck::new(self.key, cost, LimitRule::Policy(self.policy))
    }
}

/// The limits that a refusal names: its `violations`, or itself where there was one check.
fn violated(members: &Map<String, Value>) -> Vec<(usize, HeaderState)> {
    let Some(violations) = members.get("violations").and_then(Value::as_array) else {
        return vec![(0, HeaderState::of_refusal(members))];
    };
    let state = |violation: &Map<String, Value>| {
        let index = violation.get("index").and_then(Value::as_u64)?;
        Some((usize::try_from(index).ok()?, HeaderState::of_refusal(violation)))
    };
    violations.iter().filter_map(Value::as_object).filter_map(state).collect()
}
