//! `PUT /ratelimit/policies/{policy}`: creates a policy, or replaces its rule.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES,
    get_policy::{OnStoreError, Policy, PolicyRule, StoredPolicy, answer_policy},
    limit::{bind_rule, with_rule_fields},
    memory::Memory,
    rule::Rule,
};
use crate::{
    api::{self, Answer, Caller, IfMatch, Json, Path, Problem},
    store::{Invocation, Operation, Store},
    types::{Code, Id, codes, enum_from_str},
};

with_rule_fields! {
    /// The rule of a policy, flat, and what happens beside it.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(example = json!({
        "algorithm": "token_bucket", "capacity": 100, "refill_tokens": 10, "refill_interval_ms": 1000,
        "shadow": false, "on_store_error": "error"
    }))]
    pub struct PutPolicy {
        /// True for a policy that only counts: it denies nothing, and tells in `shadow_denied` what it would
        /// have denied.
        #[serde(default)]
        #[schema(default = false)]
        pub shadow: bool,
        /// What a check under this policy is told while the store does not answer. A process knows the policy from its
        /// first check on; until then the answer is `error`.
        #[serde(default, deserialize_with = "enum_from_str")]
        #[schema(default = "error")]
        pub on_store_error: OnStoreError,
    }
}

struct PolicyChange {
    policy: Id,
    if_match: IfMatch,
    rule: Rule,
    shadow: bool,
    rule_json: String,
}

/// The reply of a change: the policy, and 1 where it is new.
#[derive(Debug, Deserialize)]
struct PutReply {
    policy: StoredPolicy,
    created: u64,
}

impl PolicyChange {
    fn new(policy: Id, if_match: IfMatch, request: &PutPolicy) -> Result<PolicyChange, Problem> {
        let fields = request.rule_fields();
        let rule = fields.rule()?;
        let PutPolicy { shadow, on_store_error, .. } = *request;
        let stored = PolicyRule {
            algorithm: rule.algorithm(),
            capacity: fields.capacity,
            refill_tokens: fields.refill_tokens,
            refill_interval_ms: fields.refill_interval_ms,
            limit: fields.limit,
            window_ms: fields.window_ms,
            buckets: fields.buckets,
            ttl_ms: fields.ttl_ms,
            shadow,
            on_store_error,
        };
        let rule_json = serde_json::to_string(&stored).map_err(|_| codes::INTERNAL_ERROR)?;
        Ok(PolicyChange { policy, if_match, rule, shadow, rule_json })
    }
}

impl Operation for PolicyChange {
    const NAME: &'static str = "ratelimit/put_policy";
    const CODES: &'static [Code] = CODES;
    type Reply = PutReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("policy_key", "limit_policy", &self.policy)
            .key("index_key", "index", "limit_policies")
            .arg("policy", &self.policy)
            .arg("expected_version", &self.if_match);
        bind_rule(invocation, self.rule);
        invocation.arg("shadow", u8::from(self.shadow)).arg("rule_json", &self.rule_json);
    }
}

/// Put a policy
///
/// Creates the policy or replaces its rule. The change takes effect at once and on every instance: the next
/// check reads it. What was taken under the old rule counts under the new one as far as their algorithms
/// agree: a bucket keeps its whole tokens, a window its admissions, leases stay. With another algorithm the
/// limit begins anew. The same rule again changes nothing.
#[utoipa::path(
    put,
    path = "/ratelimit/policies/{policy}",
    operation_id = PolicyChange::NAME,
    tag = "ratelimit",
    params(("policy" = Id, Path, description = "Name of the policy.", example = "api"), IfMatch),
    request_body = PutPolicy,
    responses(
        (status = OK, body = Policy, description = "The policy, which existed."),
        (status = CREATED, body = Policy, description = "The new policy."),
    ),
)]
pub async fn put_policy(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(policy): Path,
    if_match: IfMatch,
    Json(request): Json<PutPolicy>,
) -> api::Result<Policy> {
    let change = PolicyChange::new(policy, if_match, &request)?;
    let completed = store.run(&change, &context).await?;
    let is_new = completed.reply.created == 1;
    let completed = completed.map(|reply| reply.policy);
    Memory::of(&store).policy_changed(&context.space, &completed.reply);
    if !is_new {
        return Ok(answer_policy(completed, Answer::ok));
    }
    let answer = answer_policy(completed, Answer::created);
    Ok(answer.with_location(|policy| format!("/ratelimit/policies/{}", policy.policy)))
}
