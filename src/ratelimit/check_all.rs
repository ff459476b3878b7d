//! `POST /ratelimit/check-all`: takes units from several limits if all of them have them.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    CODES,
    check::{CheckReply, OnDeny, RateLimitCheck, default_cost},
    codes,
    decision::{Decision, HeaderState},
    limit::{LimitRule, with_rule_fields},
};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, Id, LimitKey, enum_from_str},
};

/// The most limits that one call checks.
pub const MAX_CHECKS: usize = 32;

/// Takes units from several limits, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "checks": [
        { "key": "tenant-7", "cost": 1, "algorithm": "fixed_window", "limit": 1000, "window_ms": 60000 },
        { "key": "user-12", "cost": 1, "capacity": 20, "refill_tokens": 5, "refill_interval_ms": 1000 }
    ]
}))]
pub struct CheckAll {
    /// Limits to check, 1 to 32. Two checks of the same limit count together.
    #[schema(min_items = 1, max_items = 32)]
    pub checks: Vec<OneCheck>,
    /// Says how a denied call is answered.
    #[serde(default, deserialize_with = "enum_from_str")]
    pub on_deny: OnDeny,
}

with_rule_fields! {
    /// One of several limits that are checked together.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    pub struct OneCheck {
        /// Name of what is limited: 1 to 256 bytes of printable text.
        pub key: LimitKey,
        /// Units to take, from 1 up to the whole limit.
        #[serde(default = "default_cost")]
        #[schema(minimum = 1, default = 1)]
        pub cost: u64,
        /// Policy to check. Without it the rule is made of the fields below.
        #[serde(default, deserialize_with = "crate::types::non_null")]
        #[schema(value_type = Id, required = false)]
        pub policy: Option<Id>,
    }
}

/// The decisions about several limits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "allowed": true,
    "results": [{
        "key": "tenant-7", "allowed": true, "limit": 1000, "remaining": 999,
        "retry_after_ms": 0, "reset_after_ms": 41000, "cost": 1
    }]
}))]
pub struct Decisions {
    /// True if the units of all limits were taken.
    pub allowed: bool,
    /// The decisions: of all checks in their order where the call was allowed, and only those of the
    /// violated limits where it was denied.
    pub results: Vec<Decision>,
}

/// Several checks whose rules and costs have been checked.
pub struct CheckSeveral {
    checks: Vec<RateLimitCheck>,
    on_deny: OnDeny,
}

/// The reply of a call that was allowed, with a result for each check.
#[derive(Debug, Deserialize)]
pub struct CheckAllReply {
    /// One result for each check, in their order.
    pub results: Vec<CheckReply>,
}

impl CheckSeveral {
    /// Several checks whose denial is a refusal.
    pub fn new(checks: Vec<RateLimitCheck>) -> CheckSeveral {
        CheckSeveral { checks, on_deny: OnDeny::default() }
    }
}

impl Operation for CheckSeveral {
    const NAME: &'static str = "ratelimit/check_all";
    const CODES: &'static [Code] = CODES;
    type Reply = CheckAllReply;

    fn bind(&self, invocation: &mut Invocation) {
        for check in &self.checks {
            check.rule.bind_state(invocation, &check.key);
            check.rule.bind_policy(invocation);
        }
        for check in &self.checks {
            check.bind_units(invocation);
        }
    }
}

impl Command for CheckAll {
    type Operation = CheckSeveral;
    type Output = Decisions;

    async fn prepare(self, _: &Store, _: &Context) -> Result<CheckSeveral, Problem> {
        if !(1..=MAX_CHECKS).contains(&self.checks.len()) {
            let detail = format!("There are 1 to {MAX_CHECKS} checks.");
            return Err(Problem::validation("/checks", detail));
        }
        let mut checks = Vec::with_capacity(self.checks.len());
        for (index, check) in self.checks.into_iter().enumerate() {
            let fields = check.rule_fields();
            let rule = LimitRule::new(check.policy, &fields);
            let check = rule.and_then(|rule| RateLimitCheck::new(check.key, check.cost, rule));
            checks.push(
                check.map_err(|problem| problem.prefix_pointer(&format!("/checks/{index}")))?,
            );
        }
        Ok(CheckSeveral { checks, on_deny: self.on_deny })
    }

    fn answer(
        operation: &CheckSeveral,
        result: Result<Completed<CheckAllReply>, store::Error>,
    ) -> api::Result<Decisions> {
        match result {
            Ok(completed) => Ok(operation.allowed(completed)),
            Err(store::Error::Refused(denied)) if denied.reply.code == &codes::RATE_LIMITED => {
                operation.denied(denied)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl CheckSeveral {
    fn allowed(&self, completed: Completed<CheckAllReply>) -> Answer<Decisions> {
        let pairs = || self.checks.iter().zip(&completed.reply.results);
        let states: Vec<HeaderState> =
            pairs().map(|(check, reply)| reply.header_state(&check.rule)).collect();
        let replayed = completed.replayed;
        let replies = self.checks.iter().zip(completed.reply.results);
        let decide = |(check, reply): (&RateLimitCheck, CheckReply)| {
            reply.into_decision(check.key.clone(), check.cost, &check.rule)
        };
        let reply = Decisions { allowed: true, results: replies.map(decide).collect() };
        HeaderState::add_to_answer(&states, Answer::ok(Completed { reply, replayed }))
    }

    /// Answers a denial: as the problem, or with the violated limits where `on_deny` is `200`.
    fn denied(&self, denied: Completed<store::Refusal>) -> api::Result<Decisions> {
        let violations = denied.reply.members.get("violations").and_then(Value::as_array);
        let mut states = Vec::new();
        let mut results = Vec::new();
        for violation in violations.into_iter().flatten().filter_map(Value::as_object) {
            states.push(HeaderState::of_refusal(violation));
            let mut fields = violation.clone();
            fields.insert("allowed".to_owned(), false.into());
            results.extend(serde_json::from_value::<Decision>(Value::Object(fields)));
        }
        if self.on_deny == OnDeny::Ok {
            let reply = Decisions { allowed: false, results };
            let answer = Answer::ok(Completed { reply, replayed: denied.replayed });
            return Ok(HeaderState::add_to_answer(&states, answer));
        }
        Err(HeaderState::add_to_problem(&states, store::Error::Refused(denied).into()))
    }
}

/// Check several rate limits
///
/// The units of all limits are taken in one step, or none are. A denial names every limit that was
/// violated, and `retry_after_ms` is the longest of their waits.
#[utoipa::path(
    post,
    path = "/ratelimit/check-all",
    operation_id = CheckSeveral::NAME,
    tag = "ratelimit",
    request_body = CheckAll,
    responses((status = OK, body = Decisions, description = "The units of all limits were taken; or the call was denied and `on_deny` is `200`.")),
)]
pub async fn check_all(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<CheckAll>,
) -> api::Result<Decisions> {
    request.run(&store, &context).await
}
