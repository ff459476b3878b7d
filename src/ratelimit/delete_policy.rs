//! `DELETE /ratelimit/policies/{policy}`: deletes a policy.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, memory::Memory};
use crate::{
    api::{self, Answer, Caller, IfMatch, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

struct PolicyDeletion {
    policy: Id,
    if_match: IfMatch,
}

/// The reply of a deletion.
#[derive(Debug, Deserialize)]
struct DeletionReply {
    policy: Id,
}

/// A policy that was deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "policy": "api", "deleted": true }))]
pub struct PolicyDeleted {
    /// Name of the policy.
    pub policy: Id,
    /// Always true.
    pub deleted: bool,
}

impl Operation for PolicyDeletion {
    const NAME: &'static str = "ratelimit/delete_policy";
    const CODES: &'static [Code] = CODES;
    type Reply = DeletionReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("policy_key", "limit_policy", &self.policy)
            .key("index_key", "index", "limit_policies")
            .arg("policy", &self.policy)
            .arg("expected_version", &self.if_match);
    }
}

/// Delete a policy
///
/// Later checks under its name are refused. What was taken under it ends by itself.
#[utoipa::path(
    delete,
    path = "/ratelimit/policies/{policy}",
    operation_id = PolicyDeletion::NAME,
    tag = "ratelimit",
    params(("policy" = Id, Path, description = "Name of the policy.", example = "api"), IfMatch),
    responses((status = OK, body = PolicyDeleted, description = "The policy does not exist any more.")),
)]
pub async fn delete_policy(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(policy): Path,
    if_match: IfMatch,
) -> api::Result<PolicyDeleted> {
    let completed = store.run(&PolicyDeletion { policy, if_match }, &context).await?;
    Memory::of(&store).policy_deleted(&context.space, &completed.reply.policy);
    Ok(Answer::ok(completed.map(|reply| PolicyDeleted { policy: reply.policy, deleted: true })))
}
