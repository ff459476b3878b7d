//! `POST /ratelimit/refund`: gives units back to a limit.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES,
    check::{check_cost, default_cost},
    denials::MakesRoom,
    limit::{LimitRule, with_rule_fields},
    memory::Memory,
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, LimitKey},
};

with_rule_fields! {
    /// Gives units back to a limit, for work that was not done after all.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(example = json!({ "policy": "api", "key": "tenant-7", "cost": 1 }))]
    pub struct Refund {
        /// Name of what is limited.
        pub key: LimitKey,
        /// Units to give back.
        #[serde(default = "default_cost")]
        #[schema(minimum = 1, default = 1)]
        pub cost: u64,
        /// Policy of the limit. Without it the rule is made of the fields below.
        #[serde(default, deserialize_with = "crate::types::non_null")]
        #[schema(value_type = Id, required = false)]
        pub policy: Option<Id>,
    }
}

/// A limit after units were given back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "key": "tenant-7", "policy": "api", "refunded": 1, "limit": 100, "remaining": 100, "reset_after_ms": 0
}))]
pub struct Refunded {
    /// Name of what is limited.
    pub key: LimitKey,
    /// Policy of the limit; missing for a rule of the call's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Id>,
    /// Units that were given back: at most those that were taken and still count.
    pub refunded: u64,
    /// The most units at once.
    pub limit: u64,
    /// Units that can be taken now.
    pub remaining: u64,
    /// Milliseconds after which the limit is whole again if nothing more is taken.
    pub reset_after_ms: u64,
}

/// A refund whose rule and cost have been checked.
pub struct CheckedRefund {
    key: LimitKey,
    cost: u64,
    rule: LimitRule,
    /// This process forgets what it denied, once the reply is there.
    _makes_room: MakesRoom,
}

/// The reply of a refund.
#[derive(Debug, Deserialize)]
pub struct RefundReply {
    limit: u64,
    remaining: u64,
    reset_after_ms: u64,
    refunded: u64,
}

impl Operation for CheckedRefund {
    const NAME: &'static str = "ratelimit/refund";
    const CODES: &'static [Code] = CODES;
    type Reply = RefundReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.rule.bind_state(invocation, &self.key);
        self.rule.bind_policy_if_named(invocation);
        invocation.arg("cost", self.cost).arg("policy", self.rule.policy());
        self.rule.bind_numbers(invocation);
    }
}

impl Command for Refund {
    type Operation = CheckedRefund;
    type Output = Refunded;

    async fn prepare(self, store: &Store, context: &Context) -> Result<CheckedRefund, Problem> {
        check_cost(self.cost)?;
        let fields = self.rule_fields();
        let rule = LimitRule::new(self.policy, &fields)?;
        let _makes_room = Memory::of(store).denials.make_room(&context.space, &rule, &self.key);
        Ok(CheckedRefund { key: self.key, cost: self.cost, rule, _makes_room })
    }

    fn answer(
        refund: &CheckedRefund,
        result: Result<Completed<RefundReply>, store::Error>,
    ) -> api::Result<Refunded> {
        let CheckedRefund { key, rule, .. } = refund;
        Ok(Answer::ok(result?.map(|reply| Refunded {
            key: key.clone(),
            policy: rule.named_policy(),
            refunded: reply.refunded,
            limit: reply.limit,
            remaining: reply.remaining,
            reset_after_ms: reply.reset_after_ms,
        })))
    }
}

/// Refund units of a rate limit
///
/// The newest units come back first. A refund never makes more than the limit available: what has left the
/// window already cannot come back twice.
#[utoipa::path(
    post,
    path = "/ratelimit/refund",
    operation_id = CheckedRefund::NAME,
    tag = "ratelimit",
    request_body = Refund,
    responses((status = OK, body = Refunded, description = "The units were given back, as far as they still counted.")),
)]
pub async fn refund(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Refund>,
) -> api::Result<Refunded> {
    request.run(&store, &context).await
}
