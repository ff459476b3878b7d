//! `GET /ratelimit/peek`: the decision that a check would get, without taking anything.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    CODES,
    check::{check_cost, default_cost},
    decision::{Decision, HeaderState},
    limit::LimitRule,
};
use crate::{
    api::{self, Caller, Problem, Query},
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

struct Peek {
    key: LimitKey,
    cost: u64,
    rule: LimitRule,
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
    shadow: u64,
}

impl Operation for Peek {
    const NAME: &'static str = "ratelimit/peek";
    const CODES: &'static [Code] = CODES;
    type Reply = PeekReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.rule.bind_state(invocation, &self.key);
        self.rule.bind_policy(invocation);
        invocation.arg("cost", self.cost).arg("policy", self.rule.policy());
    }
}

/// Peek at a rate limit
///
/// Answers what a check would be told now. Nothing is taken and nothing is written, whether it would be
/// allowed or denied; a denial has the status 200 and `allowed: false`.
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
    let operation = Peek { key, cost, rule: LimitRule::Policy(policy.clone()) };
    let Completed { reply, replayed } = store.run(&operation, &context).await?;
    let state = HeaderState {
        name: policy.to_string(),
        limit: reply.limit,
        window_ms: reply.window_ms,
        remaining: reply.remaining,
        effective_ms: if reply.allowed { reply.reset_after_ms } else { reply.retry_after_ms },
    };
    let decision = Decision {
        key: operation.key,
        policy: Some(policy),
        allowed: reply.allowed,
        limit: reply.limit,
        remaining: reply.remaining,
        retry_after_ms: reply.retry_after_ms,
        reset_after_ms: reply.reset_after_ms,
        cost,
        lease_id: None,
        shadow_denied: reply.shadow == 1 && reply.retry_after_ms > 0,
    };
    let answer = api::Answer::ok(Completed { reply: decision, replayed });
    Ok(HeaderState::add_to_answer(&[state], answer))
}
