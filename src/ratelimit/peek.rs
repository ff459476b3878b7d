//! `GET /ratelimit/peek`: the decision that a check would get, without taking anything.

use std::iter;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    CODES,
    check::{RateLimitCheck, check_cost, default_cost},
    decision::Decision,
    headers::{Left, LimitState, with_limits},
    known_policies::StoreAnswer,
    limit::LimitRule,
    memory::Memory,
};
use crate::{
    api::{self, Answer, Caller, Problem, Query},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id, LimitKey, codes},
};

/// The query parameters of a peek.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeekQuery {
    /// Policy of the limit.
    #[param(value_type = Id, example = "api")]
    pub policy: Id,
    /// Name of what is limited.
    #[param(value_type = LimitKey)]
    pub key: LimitKey,
    /// Units that a check would take.
    #[serde(default = "default_cost")]
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64, default = 1)]
    pub cost: u64,
}

/// A check that takes nothing.
struct Peek {
    check: RateLimitCheck,
}

/// The reply of a peek.
#[derive(Debug, Deserialize)]
struct PeekReply {
    allowed: bool,
    limit: u64,
    remaining: u64,
    retry_after_ms: u64,
    reset_after_ms: u64,
    window_ms: u64,
    /// 1 where a check would be denied, or would be if the policy did more than count.
    denied: u64,
}

impl Operation for Peek {
    const NAME: &'static str = "ratelimit/peek";
    const CODES: &'static [Code] = CODES;
    type Reply = PeekReply;

    fn bind(&self, invocation: &mut Invocation) {
        let RateLimitCheck { key, cost, rule, .. } = &self.check;
        rule.bind_state(invocation, key);
        rule.bind_policy(invocation);
        invocation.arg("cost", cost).arg("policy", rule.policy());
    }
}

impl PeekReply {
    fn left(&self) -> Left {
        let wait_ms = if self.allowed { self.reset_after_ms } else { self.retry_after_ms };
        Left { remaining: self.remaining, denied: !self.allowed, effective_ms: wait_ms }
    }

    fn into_decision(self, check: &RateLimitCheck) -> Decision {
        Decision {
            key: check.key.clone(),
            policy: check.rule.named_policy(),
            allowed: self.allowed,
            limit: self.limit,
            remaining: self.remaining,
            retry_after_ms: self.retry_after_ms,
            reset_after_ms: self.reset_after_ms,
            cost: check.cost,
            lease_id: None,
            shadow_denied: self.allowed && self.denied == 1,
            decided_by: None,
        }
    }
}

/// Peek at a rate limit
///
/// Answers what a check would be told now. Nothing is taken and nothing is written, whether it would be
/// allowed or denied; a denial has the status 200 and `allowed: false`. The store is asked each time; while it does
/// not answer, `on_store_error` of the policy holds here too.
#[utoipa::path(
    get,
    path = "/ratelimit/peek",
    operation_id = Peek::NAME,
    tag = "ratelimit",
    params(PeekQuery),
    responses((status = OK, body = Decision, description = "The decision that a check would get.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn peek(
    State(store): State<Store>,
    Query(PeekQuery { policy, key, cost }): Query<PeekQuery>,
    Caller(context): Caller,
) -> api::Result<Decision> {
    if check_cost(cost).is_err() {
        return Err(Problem::new(codes::INVALID_QUERY, "A cost is 1 to 2^53 - 1."));
    }
    let check = RateLimitCheck::new(key.clone(), cost, LimitRule::Policy(policy.clone()))?;
    let peek = Peek { check };
    let rules = iter::once(&peek.check.rule);
    let (decision, left, window_ms) =
        match Memory::of(&store).policies.run(&store, &context, &peek, rules).await {
            StoreAnswer::Away(policies) => {
                (peek.check.decision_while_away(&policies[0])?, None, policies[0].window_ms)
            }
            StoreAnswer::Given(result) => {
                let reply = result?.reply;
                let left = reply.left();
                let window_ms = reply.window_ms;
                (reply.into_decision(&peek.check), Some(left), window_ms)
            }
        };
    let state = LimitState { name: policy.to_string(), limit: decision.limit, window_ms, left };
    Ok(with_limits(Answer::ok(Completed { reply: decision, replayed: false }), vec![state]))
}
