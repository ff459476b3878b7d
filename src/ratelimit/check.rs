//! `POST /ratelimit`: takes units from a rate limit, or denies them. `authorize` decides by the same way.

use std::iter;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    CODES, codes,
    decision::{
        DecidedBy, Decision, decision_while_away, denied_members, denied_while_away, explain_away,
        refusal,
    },
    denials::{Figures, PendingCheck},
    headers::{Left, LimitState, with_limits},
    known_policies::{KnownPolicy, StoreAnswer},
    limit::{LimitRule, with_rule_fields},
    memory::Memory,
    rule::Algorithm,
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, GeneratedId, Invocation, Operation, Store},
    types::{Code, Id, LimitKey, enum_from_str},
};

with_rule_fields! {
    /// Takes units from a rate limit. The rule is that of a policy, or part of the request.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(as = Check, example = json!({
        "key": "tenant-7",
        "cost": 1,
        "algorithm": "token_bucket",
        "capacity": 100,
        "refill_tokens": 10,
        "refill_interval_ms": 1000
    }))]
    pub struct CheckRequest {
        /// Name of what is limited, such as a tenant, a user or an address: 1 to 256 bytes of
        /// printable text.
        pub key: LimitKey,
        /// Units to take, from 1 up to the whole limit.
        #[serde(default = "default_cost")]
        #[schema(minimum = 1, default = 1)]
        pub cost: u64,
        /// Says how a denied check is answered.
        #[serde(default, deserialize_with = "enum_from_str")]
        pub on_deny: OnDeny,
        /// Policy to check. Without it the rule is made of the fields below.
        #[serde(default, deserialize_with = "crate::types::non_null")]
        #[schema(value_type = Id, required = false)]
        pub policy: Option<Id>,
    }
}

/// The answer to a denied check: `429` as the problem `rate_limited`, `200` as a result with
/// `allowed: false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum OnDeny {
    /// The answer is the problem `rate_limited` with the status 429.
    #[default]
    #[serde(rename = "429")]
    TooManyRequests,
    /// The answer has the status 200 and `allowed: false`.
    #[serde(rename = "200")]
    Ok,
}

/// The cost of a check that names none.
pub fn default_cost() -> u64 {
    1
}

/// A check whose rule and cost have been checked.
pub struct RateLimitCheck {
    /// What is limited.
    pub key: LimitKey,
    /// Units to take.
    pub cost: u64,
    /// The rule to check.
    pub rule: LimitRule,
    on_deny: OnDeny,
    lease_id: GeneratedId,
}

/// The reply of a check that was allowed, or that a policy has only counted.
#[derive(Debug, Deserialize)]
pub struct CheckReply {
    limit: u64,
    remaining: u64,
    retry_after_ms: u64,
    reset_after_ms: u64,
    window_ms: u64,
    lease_id: Option<String>,
    /// 1 where a policy that only counts would have denied the check.
    denied: u64,
}

impl RateLimitCheck {
    /// Checks the cost, and the limit of a rule that the call brings with it.
    ///
    /// # Errors
    ///
    /// `validation_failed` if the cost is 0, and `cost_exceeds_limit` if it can never fit.
    pub fn new(key: LimitKey, cost: u64, rule: LimitRule) -> Result<RateLimitCheck, Problem> {
        check_cost(cost)?;
        if let LimitRule::Inline(rule) = rule
            && cost > rule.limit()
        {
            return Err(exceeds_limit(cost, rule.limit()));
        }
        let (on_deny, lease_id) = (OnDeny::default(), GeneratedId::new("lease_"));
        Ok(RateLimitCheck { key, cost, rule, on_deny, lease_id })
    }

    /// Decides the check in a script of its own: by a denial of the same check that this process remembers, by the
    /// store, or by `on_store_error` of the policy.
    ///
    /// # Errors
    ///
    /// The refusal, or the failure of the store.
    pub async fn decide(&self, store: &Store, context: &Context) -> api::Result<Decision> {
        let memory = Memory::of(store);
        let pending = Memory::may_answer(context).then(|| {
            let RateLimitCheck { key, cost, rule, .. } = self;
            memory.denials.pending(store.clock(), &context.space, rule, key, *cost)
        });
        if let Some(figures) = pending.as_ref().and_then(|asked| memory.denials.find(asked)) {
            DecidedBy::Local.count();
            return CheckRequest::answer(self, Err(self.denial(figures, DecidedBy::Local)));
        }
        match memory.policies.run(store, context, self, iter::once(&self.rule)).await {
            StoreAnswer::Away(policies) => self.answer_while_away(&policies[0]),
            StoreAnswer::Given(result) => {
                if let (Some(pending), Err(store::Error::Refused(denied))) = (pending, &result) {
                    self.remember(store, context, pending, &denied.reply);
                }
                CheckRequest::answer(self, result)
            }
        }
    }

    /// Remembers a denial of the store. Those of leases are not: a lease may be given back at any moment, through any
    /// process.
    fn remember(
        &self,
        store: &Store,
        context: &Context,
        pending: PendingCheck,
        denied: &store::Refusal,
    ) {
        let memory = Memory::of(store);
        let algorithm = match self.rule {
            LimitRule::Inline(rule) => Some(rule.algorithm()),
            LimitRule::Policy(_) => {
                memory.policies.find(&context.space, &self.rule).map(|policy| policy.algorithm)
            }
        };
        let is_lasting = algorithm.is_some_and(|algorithm| algorithm != Algorithm::Concurrency);
        if is_lasting && denied.code == &codes::RATE_LIMITED {
            let figures = Figures::of_refusal(&denied.members);
            memory.denials.remember(store.clock(), pending, figures);
        }
    }

    /// A denial that the store has not made.
    fn denial(&self, figures: Figures, by: DecidedBy) -> store::Error {
        let members = denied_members(&self.key, &self.rule, self.cost, figures, by);
        store::Error::Refused(refusal(members))
    }

    fn answer_while_away(&self, policy: &KnownPolicy) -> api::Result<Decision> {
        let reply = self.decision_while_away(policy)?;
        if !reply.allowed {
            let denial = self.denial(denied_while_away(policy), DecidedBy::OnStoreError);
            let name = format!("the policy {}", self.rule.policy());
            return CheckRequest::answer(self, Err(denial))
                .map_err(|problem| explain_away(problem, name));
        }
        let state = policy.limit_state(self.rule.policy());
        Ok(with_limits(Answer::ok(Completed { reply, replayed: false }), vec![state]))
    }

    /// The decision of the policy while the store does not answer.
    ///
    /// # Errors
    ///
    /// `cost_exceeds_limit`, as the script would refuse.
    pub fn decision_while_away(&self, policy: &KnownPolicy) -> Result<Decision, Problem> {
        if self.cost > policy.limit && !policy.shadow {
            return Err(exceeds_limit(self.cost, policy.limit));
        }
        Ok(decision_while_away(&self.key, &self.rule, policy, self.cost))
    }

    /// Binds the arguments `key`, `cost`, `policy`, `lease_id` and those of the rule. The id of a lease names
    /// its units, so that a release finds them without a record.
    pub fn bind_units(&self, invocation: &mut Invocation) {
        invocation
            .arg("key", &self.key)
            .arg("cost", self.cost)
            .arg("policy", self.rule.policy())
            .derived_arg("lease_id", format_args!("{}x{}", self.lease_id, self.cost));
        self.rule.bind_numbers(invocation);
    }
}

/// The refusal of a cost that can never fit.
fn exceeds_limit(cost: u64, limit: u64) -> Problem {
    let members = [("cost", cost.into()), ("limit", limit.into())];
    let problem = Problem::refused(codes::COST_EXCEEDS_LIMIT, members);
    let error = json!({ "pointer": "/cost", "detail": problem.detail() });
    problem.with("errors", vec![error])
}

/// Refuses a cost that no limit counts.
///
/// # Errors
///
/// `validation_failed` if it is 0 or above 2^53 - 1.
pub fn check_cost(cost: u64) -> Result<(), Problem> {
    if cost == 0 || cost > crate::types::limits::MAX_SAFE_INTEGER.unsigned_abs() {
        return Err(Problem::validation("/cost", "A cost is 1 to 2^53 - 1."));
    }
    Ok(())
}

impl CheckReply {
    /// Makes the decision about a check.
    pub fn into_decision(self, key: LimitKey, cost: u64, rule: &LimitRule) -> Decision {
        Decision {
            key,
            policy: rule.named_policy(),
            allowed: true,
            limit: self.limit,
            remaining: self.remaining,
            retry_after_ms: self.retry_after_ms,
            reset_after_ms: self.reset_after_ms,
            cost,
            lease_id: self.lease_id,
            shadow_denied: self.denied == 1,
            decided_by: None,
        }
    }

    /// What the headers say of the limit.
    pub fn limit_state(&self, rule: &LimitRule) -> LimitState {
        let name = if rule.policy().is_empty() { "default" } else { rule.policy() };
        let left =
            Left { remaining: self.remaining, denied: false, effective_ms: self.reset_after_ms };
        LimitState {
            name: name.to_owned(),
            limit: self.limit,
            window_ms: self.window_ms,
            left: Some(left),
        }
    }
}

impl Operation for RateLimitCheck {
    const NAME: &'static str = "ratelimit/check";
    const CODES: &'static [Code] = CODES;
    type Reply = CheckReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.rule.bind_state(invocation, &self.key);
        self.rule.bind_policy_if_named(invocation);
        self.bind_units(invocation);
    }
}

impl Command for CheckRequest {
    type Operation = RateLimitCheck;
    type Output = Decision;

    async fn prepare(self, _: &Store, _: &Context) -> Result<RateLimitCheck, Problem> {
        let fields = self.rule_fields();
        let rule = LimitRule::new(self.policy, &fields)?;
        let check = RateLimitCheck::new(self.key, self.cost, rule)?;
        Ok(RateLimitCheck { on_deny: self.on_deny, ..check })
    }

    fn answer(
        check: &RateLimitCheck,
        result: Result<Completed<CheckReply>, store::Error>,
    ) -> api::Result<Decision> {
        let denied = match result {
            Ok(completed) => {
                let state = completed.reply.limit_state(&check.rule);
                let decide = |reply: CheckReply| {
                    reply.into_decision(check.key.clone(), check.cost, &check.rule)
                };
                return Ok(with_limits(Answer::ok(completed.map(decide)), vec![state]));
            }
            Err(store::Error::Refused(denied)) if denied.reply.code == &codes::RATE_LIMITED => {
                denied
            }
            Err(error) => return Err(error.into()),
        };
        // The members of the refusal are the fields of a decision.
        if check.on_deny == OnDeny::Ok
            && let Ok(reply) = serde_json::from_value(Value::Object(denied.reply.members.clone()))
        {
            let state = LimitState::denied(|name| denied.reply.members.get(name));
            let answer = Answer::ok(Completed { reply, replayed: denied.replayed });
            return Ok(with_limits(answer, vec![state]));
        }
        Err(store::Error::Refused(denied).into())
    }
}

/// Check a rate limit
///
/// The whole `cost` is taken from the limit, or the check is denied and nothing is taken. The headers
/// `RateLimit-Policy` and `RateLimit` carry the rule and its state in seconds, for clients and gateways. A check
/// that was denied a moment ago may be denied again by the process that remembers it (`decided_by: "local"`), for at
/// most two seconds; never so under an Idempotency-Key or a guard, and never for leases.
#[utoipa::path(
    post,
    path = "/ratelimit",
    operation_id = RateLimitCheck::NAME,
    tag = "ratelimit",
    request_body = CheckRequest,
    responses((status = OK, body = Decision, description = "The units were taken; or the check was denied and `on_deny` is `200`.")),
)]
pub async fn check(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<CheckRequest>,
) -> api::Result<Decision> {
    let check = request.prepare(&store, &context).await?;
    check.decide(&store, &context).await
}
