//! The decision of a limit, as every call that checks one answers it, and the denial as a refusal.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    codes, denials::Figures, get_policy::OnStoreError, known_policies::KnownPolicy,
    limit::LimitRule,
};
use crate::{
    api::Problem,
    store::{Completed, Refusal},
    types::{Id, LimitKey},
};

/// The wait that a denial names while the store does not answer.
const AWAY_RETRY_MS: u64 = 1000;

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
    /// Units that are left after this check; 0 where nothing was counted.
    pub remaining: u64,
    /// Milliseconds after which a denied check would be allowed; 0 for one that was allowed. Under a policy that only
    /// counts, 0 with `shadow_denied` says that the cost is above the limit, so that no waiting would help.
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
    /// What decided in place of the store; missing where the store has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DecidedBy, required = false)]
    pub decided_by: Option<DecidedBy>,
}

/// What decided a check in place of the store.
///
/// - `local`: this process knew that the same check was denied a moment ago.
/// - `on_store_error`: the store does not answer, and the policy says what to answer then. Nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// This process knew that the same check was denied a moment ago.
    Local,
    /// The store does not answer, and the policy says what to answer then. Nothing was counted.
    OnStoreError,
}

impl DecidedBy {
    /// Counts a decision in the metrics.
    pub fn count(self) {
        let by = match self {
            DecidedBy::Local => "local",
            DecidedBy::OnStoreError => "on_store_error",
        };
        metrics::counter!("lockstep_limits_without_store_total", "by" => by).increment(1);
    }
}

/// The decision of a policy while the store does not answer. Nothing is counted.
pub fn decision_while_away(
    key: &LimitKey,
    rule: &LimitRule,
    policy: &KnownPolicy,
    cost: u64,
) -> Decision {
    let allowed = policy.allows_while_away();
    let wait_ms = if allowed { 0 } else { AWAY_RETRY_MS };
    Decision {
        key: key.clone(),
        policy: rule.named_policy(),
        allowed,
        limit: policy.limit,
        remaining: 0,
        retry_after_ms: wait_ms,
        reset_after_ms: wait_ms,
        cost,
        lease_id: None,
        shadow_denied: allowed
            && (policy.on_store_error == OnStoreError::Deny || cost > policy.limit),
        decided_by: Some(DecidedBy::OnStoreError),
    }
}

/// The figures of a limit that is denied without the store.
pub fn denied_while_away(policy: &KnownPolicy) -> Figures {
    Figures {
        limit: policy.limit,
        remaining: 0,
        retry_after_ms: AWAY_RETRY_MS,
        reset_after_ms: AWAY_RETRY_MS,
        window_ms: policy.window_ms,
    }
}

/// The members of a denial: those that the script of a check gives to `rate_limited`, and what decided.
pub fn denied_members(
    key: &LimitKey,
    rule: &LimitRule,
    cost: u64,
    figures: Figures,
    by: DecidedBy,
) -> Map<String, Value> {
    let members = json!({
        "key": key, "policy": rule.named_policy(), "allowed": false, "limit": figures.limit,
        "remaining": figures.remaining, "retry_after_ms": figures.retry_after_ms,
        "reset_after_ms": figures.reset_after_ms, "cost": cost, "window_ms": figures.window_ms,
        "decided_by": by,
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A denial without the store, as the script of a check would have refused.
pub fn refusal(members: Map<String, Value>) -> Completed<Refusal> {
    Completed { reply: Refusal { code: &codes::RATE_LIMITED, members }, replayed: false }
}

/// Says in the problem of a denial that nothing was counted.
pub fn explain_away(problem: Problem, policies: impl fmt::Display) -> Problem {
    let detail = format!("The store does not answer, and {policies} denies while it does not.");
    if problem.code() == codes::RATE_LIMITED.code { problem.with_detail(detail) } else { problem }
}

impl Figures {
    /// Reads the figures of the refusal `rate_limited`.
    pub fn of_refusal(members: &Map<String, Value>) -> Figures {
        let number = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or_default();
        Figures {
            limit: number("limit"),
            remaining: number("remaining"),
            retry_after_ms: number("retry_after_ms"),
            reset_after_ms: number("reset_after_ms"),
            window_ms: number("window_ms"),
        }
    }
}
