//! `GET /keys`: lists the keys.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{CODES, description::KeyDescription, load::bind_step};
use crate::{
    api::{self, Answer, KeyManager, KeysetScan, ListReply, Page, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::Code,
};

/// A page of the keys, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    /// Keys that are not revoked, in the order of their ids.
    pub keys: Vec<KeyDescription>,
    /// The `cursor` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "4fTzPq81LmXw")]
    pub next_cursor: Option<String>,
}

struct ListKeys(ScanStep);

impl Operation for ListKeys {
    const NAME: &'static str = "keys/list";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<KeyDescription>;

    fn bind(&self, invocation: &mut Invocation) {
        bind_step(invocation, &self.0);
    }
}

/// List keys
///
/// Answers a page of the keys without their secrets, in the order of their ids. Revoked ones are left out.
#[utoipa::path(
    get,
    path = "/keys",
    operation_id = ListKeys::NAME,
    tag = "keys",
    params(Page),
    responses((status = OK, body = Keys, description = "The page of keys.")),
    extensions(("x-refusals" = json!(["invalid_query", "keys_disabled"]))),
)]
pub async fn list(
    State(store): State<Store>,
    Query(page): Query<Page>,
    KeyManager { context, .. }: KeyManager,
) -> api::Result<Keys> {
    let scan = KeysetScan::new(page.limit, page.cursor)?;
    let list = scan.page(&store, &context, ListKeys, |_| true).await?;
    let reply = Keys { keys: list.items, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
