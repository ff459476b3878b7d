//! `POST /ratelimit/reset`: makes a limit whole again.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES,
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
    /// Makes a limit whole again.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(example = json!({ "policy": "api", "key": "tenant-7" }))]
    pub struct ResetLimit {
        /// Name of what is limited.
        pub key: LimitKey,
        /// Policy of the limit. Without it the rule is made of the fields below.
        #[serde(default, deserialize_with = "crate::types::non_null")]
        #[schema(value_type = Id, required = false)]
        pub policy: Option<Id>,
    }
}

/// A limit after it was reset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LimitReset, example = json!({ "key": "tenant-7", "policy": "api", "limit": 100, "remaining": 100 }))]
pub struct LimitReset {
    /// Name of what is limited.
    pub key: LimitKey,
    /// Policy of the limit; missing for a rule of the call's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Id>,
    /// The most units at once.
    pub limit: u64,
    /// Units that can be taken now.
    pub remaining: u64,
}

/// A reset whose rule has been checked.
pub struct CheckedReset {
    key: LimitKey,
    rule: LimitRule,
    /// This process forgets what it denied, once the reply is there.
    _makes_room: MakesRoom,
}

/// The reply of a reset.
#[derive(Debug, Deserialize)]
pub struct ResetReply {
    limit: u64,
    remaining: u64,
}

impl Operation for CheckedReset {
    const NAME: &'static str = "ratelimit/reset";
    const CODES: &'static [Code] = CODES;
    type Reply = ResetReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.rule.bind_state(invocation, &self.key);
        self.rule.bind_policy_if_named(invocation);
        invocation.arg("policy", self.rule.policy());
        self.rule.bind_numbers(invocation);
    }
}

impl Command for ResetLimit {
    type Operation = CheckedReset;
    type Output = LimitReset;

    async fn prepare(self, store: &Store, context: &Context) -> Result<CheckedReset, Problem> {
        let fields = self.rule_fields();
        let rule = LimitRule::new(self.policy, &fields)?;
        let _makes_room = Memory::of(store).denials.make_room(&context.space, &rule, &self.key);
        Ok(CheckedReset { key: self.key, rule, _makes_room })
    }

    fn answer(
        reset: &CheckedReset,
        result: Result<Completed<ResetReply>, store::Error>,
    ) -> api::Result<LimitReset> {
        let CheckedReset { key, rule, .. } = reset;
        Ok(Answer::ok(result?.map(|ResetReply { limit, remaining }| LimitReset {
            key: key.clone(),
            policy: rule.named_policy(),
            limit,
            remaining,
        })))
    }
}

/// Reset a rate limit
///
/// All units that were taken come back, and all leases of a `concurrency` limit end.
#[utoipa::path(
    post,
    path = "/ratelimit/reset",
    operation_id = CheckedReset::NAME,
    tag = "ratelimit",
    request_body = ResetLimit,
    responses((status = OK, body = LimitReset, description = "The limit is whole again.")),
)]
pub async fn reset(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ResetLimit>,
) -> api::Result<LimitReset> {
    request.run(&store, &context).await
}
