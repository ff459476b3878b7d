//! `GET /ratelimit/policies`: lists the policies of a space.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    CODES,
    get_policy::{Policy, StoredPolicy},
};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Listed, Page, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::Code,
};

/// A page of the policies of a space, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct Policies {
    /// Policies, in the order of their names.
    pub policies: Vec<Policy>,
    /// The `cursor` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api")]
    pub next_cursor: Option<String>,
}

/// Reads the policies that a step names, and lists the names of the next.
pub struct ListPolicies(pub ScanStep);

impl Operation for ListPolicies {
    const NAME: &'static str = "ratelimit/list_policies";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<StoredPolicy>;

    fn bind(&self, invocation: &mut Invocation) {
        let step = &self.0;
        invocation.key("index_key", "index", "limit_policies");
        for policy in &step.ids {
            invocation.key("policy_key", "limit_policy", policy);
        }
        invocation.arg("after", step.after()).arg("count", step.count);
        for policy in &step.ids {
            invocation.arg("policy", policy);
        }
    }
}

impl Listed for StoredPolicy {
    fn id(&self) -> &str {
        self.name()
    }
}

/// List policies
///
/// Answers a page of the policies of the space, in the order of their names.
#[utoipa::path(
    get,
    path = "/ratelimit/policies",
    operation_id = ListPolicies::NAME,
    tag = "ratelimit",
    params(Page),
    responses((status = OK, body = Policies, description = "The page of policies.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list_policies(
    State(store): State<Store>,
    Query(page): Query<Page>,
    Caller(context): Caller,
) -> api::Result<Policies> {
    let scan = KeysetScan::new(page.limit, page.cursor)?;
    let list = scan.page(&store, &context, ListPolicies, |_| true).await?;
    let policies = list.items.into_iter().map(Policy::from).collect();
    let reply = Policies { policies, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
