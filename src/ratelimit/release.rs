//! `POST /ratelimit/release`: gives a lease of a concurrency limit back.

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
    /// Gives a lease of a `concurrency` limit back before it ends by itself.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[schema(example = json!({
        "policy": "exports", "key": "tenant-7", "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aax1"
    }))]
    pub struct ReleaseLease {
        /// Name of what is limited.
        pub key: LimitKey,
        /// The `lease_id` that the check answered.
        pub lease_id: Id,
        /// Policy of the limit. Without it the rule is made of the fields below.
        #[serde(default, deserialize_with = "crate::types::non_null")]
        #[schema(value_type = Id, required = false)]
        pub policy: Option<Id>,
    }
}

/// A concurrency limit after a lease was given back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "key": "tenant-7", "policy": "exports", "lease_id": "lease_0199f6c28f7a7c319d4e52a1b7f0c6aax1",
    "released": true, "limit": 5, "remaining": 5
}))]
pub struct LimitLeaseReleased {
    /// Name of what is limited.
    pub key: LimitKey,
    /// Policy of the limit; missing for a rule of the call's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Id>,
    /// The lease that has ended.
    pub lease_id: Id,
    /// Always true.
    pub released: bool,
    /// The most units at once.
    pub limit: u64,
    /// Units that can be taken now.
    pub remaining: u64,
}

/// A release whose rule has been checked.
pub struct CheckedRelease {
    key: LimitKey,
    lease_id: Id,
    rule: LimitRule,
    /// This process forgets what it denied, once the reply is there.
    _makes_room: MakesRoom,
}

/// The reply of a release.
#[derive(Debug, Deserialize)]
pub struct ReleaseReply {
    limit: u64,
    remaining: u64,
}

impl Operation for CheckedRelease {
    const NAME: &'static str = "ratelimit/release";
    const CODES: &'static [Code] = CODES;
    type Reply = ReleaseReply;

    fn bind(&self, invocation: &mut Invocation) {
        self.rule.bind_state(invocation, &self.key);
        self.rule.bind_policy_if_named(invocation);
        invocation
            .arg("key", &self.key)
            .arg("lease_id", &self.lease_id)
            .arg("policy", self.rule.policy());
        self.rule.bind_numbers(invocation);
    }
}

impl Command for ReleaseLease {
    type Operation = CheckedRelease;
    type Output = LimitLeaseReleased;

    async fn prepare(self, store: &Store, context: &Context) -> Result<CheckedRelease, Problem> {
        let fields = self.rule_fields();
        let rule = LimitRule::new(self.policy, &fields)?;
        let _makes_room = Memory::of(store).denials.make_room(&context.space, &rule, &self.key);
        Ok(CheckedRelease { key: self.key, lease_id: self.lease_id, rule, _makes_room })
    }

    fn answer(
        release: &CheckedRelease,
        result: Result<Completed<ReleaseReply>, store::Error>,
    ) -> api::Result<LimitLeaseReleased> {
        let CheckedRelease { key, lease_id, rule, .. } = release;
        Ok(Answer::ok(result?.map(|ReleaseReply { limit, remaining }| LimitLeaseReleased {
            key: key.clone(),
            policy: rule.named_policy(),
            lease_id: lease_id.clone(),
            released: true,
            limit,
            remaining,
        })))
    }
}

/// Release a lease of a concurrency limit
///
/// A lease that has ended, or was given back before, is refused.
#[utoipa::path(
    post,
    path = "/ratelimit/release",
    operation_id = CheckedRelease::NAME,
    tag = "ratelimit",
    request_body = ReleaseLease,
    responses((status = OK, body = LimitLeaseReleased, description = "The lease has ended, and its units are free.")),
)]
pub async fn release(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ReleaseLease>,
) -> api::Result<LimitLeaseReleased> {
    request.run(&store, &context).await
}
