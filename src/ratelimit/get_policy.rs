//! `GET /ratelimit/policies/{policy}`: reads a policy. This file also has the policy as callers read it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, limit::RuleFields, rule::Algorithm};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id, Timestamp, Ttl},
};

/// The rule of a policy, and what happens beside it. Its fields are those of the call that put it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PolicyRule {
    /// Algorithm of the rule.
    pub algorithm: Algorithm,
    /// Of a `token_bucket`: number of tokens in a full bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Of a `token_bucket`: number of tokens that come back in each interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill_tokens: Option<u64>,
    /// Of a `token_bucket`: length of the refill interval in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill_interval_ms: Option<Ttl>,
    /// Of every other algorithm: the most units in a window, or at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Of the windows and the sliding counter: length of the window in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<Ttl>,
    /// Of a `sliding_counter`: the number of sub-buckets of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u64>,
    /// Of a `concurrency` limit: milliseconds after which a lease ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<Ttl>,
    /// True for a policy that only counts: it denies nothing.
    pub shadow: bool,
    /// What a check is told while the store does not answer.
    pub on_store_error: OnStoreError,
}

/// What a check under a policy is told while the store does not answer.
///
/// - `error`: the problem of the store.
/// - `allow`: the check is allowed, and nothing is counted.
/// - `deny`: the check is denied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreError {
    /// The check fails with the problem of the store.
    #[default]
    Error,
    /// The check is allowed, and nothing is counted.
    Allow,
    /// The check is denied.
    Deny,
}

impl PolicyRule {
    /// The fields of the rule, as a call has them.
    pub fn fields(&self) -> RuleFields {
        RuleFields {
            algorithm: Some(self.algorithm),
            capacity: self.capacity,
            refill_tokens: self.refill_tokens,
            refill_interval_ms: self.refill_interval_ms,
            limit: self.limit,
            window_ms: self.window_ms,
            buckets: self.buckets,
            ttl_ms: self.ttl_ms,
        }
    }
}

/// A policy: a rule under a name, which checks refer to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "policy": "api",
    "algorithm": "token_bucket",
    "capacity": 100,
    "refill_tokens": 10,
    "refill_interval_ms": 1000,
    "shadow": false,
    "on_store_error": "error",
    "version": 1,
    "updated_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct Policy {
    /// Name of the policy.
    pub policy: Id,
    #[serde(flatten)]
    rule: PolicyRule,
    /// Version of the policy, which is also the ETag. Every change raises it by one.
    pub version: u64,
    /// Moment of the last change, by the clock of Redis.
    pub updated_at: Timestamp,
}

/// A policy as scripts write it.
#[derive(Debug, Deserialize)]
pub struct StoredPolicy {
    policy: Id,
    version: u64,
    updated_at: Timestamp,
    rule: PolicyRule,
}

impl StoredPolicy {
    /// The name of the policy.
    pub fn name(&self) -> &str {
        self.policy.as_str()
    }

    /// The version, which every change raises.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The rule of the policy, and what happens beside it.
    pub fn rule(&self) -> &PolicyRule {
        &self.rule
    }
}

impl From<StoredPolicy> for Policy {
    fn from(stored: StoredPolicy) -> Policy {
        let StoredPolicy { policy, version, updated_at, rule } = stored;
        Policy { policy, rule, version, updated_at }
    }
}

/// The reply of a script that answers one policy.
#[derive(Debug, Deserialize)]
pub struct PolicyReply {
    policy: StoredPolicy,
}

struct GetPolicy(Id);

impl Operation for GetPolicy {
    const NAME: &'static str = "ratelimit/get_policy";
    const CODES: &'static [Code] = CODES;
    type Reply = PolicyReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("policy_key", "limit_policy", &self.0).arg("policy", &self.0);
    }
}

/// Makes the answer to the caller, with the version of the policy as its ETag. `answer` chooses the status.
pub fn answer_policy(
    completed: Completed<StoredPolicy>,
    answer: fn(Completed<Policy>) -> Answer<Policy>,
) -> Answer<Policy> {
    let answer = answer(completed.map(Policy::from));
    let version = answer.body().version;
    answer.with_version(version, 0)
}

/// Get a policy
///
/// The ETag is the version of the policy.
#[utoipa::path(
    get,
    path = "/ratelimit/policies/{policy}",
    operation_id = GetPolicy::NAME,
    tag = "ratelimit",
    params(("policy" = Id, Path, description = "Name of the policy.", example = "api")),
    responses((status = OK, body = Policy, description = "The policy.")),
)]
pub async fn get_policy(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(policy): Path,
) -> api::Result<Policy> {
    let completed = store.run(&GetPolicy(policy), &context).await?;
    Ok(answer_policy(completed.map(|reply| reply.policy), Answer::ok))
}
