//! `POST /keys/revoke`: ends a key for ever.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, KEY,
    description::{KeyDescription, KeyReply},
    follow::refresh,
};
use crate::{
    api::{self, Answer, Json, KeyManager},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

/// A key to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key_id": "4fTzPq81LmXw" }))]
pub struct RevokeKey {
    /// Id of the key.
    pub key_id: Id,
}

impl Operation for RevokeKey {
    const NAME: &'static str = "keys/revoke";
    const CODES: &'static [Code] = CODES;
    type Reply = KeyReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("key_record", KEY, &self.key_id)
            .key("index_key", "index", "caller_keys")
            .key("version_key", "caller_keys", "version")
            .arg("key_id", &self.key_id);
    }
}

/// Revoke a key
///
/// The key does not work any more: on this instance at once, on every other one within two seconds. Calls in progress
/// end as they would have. A repeat answers the same.
#[utoipa::path(
    post,
    path = "/keys/revoke",
    operation_id = RevokeKey::NAME,
    tag = "keys",
    request_body = RevokeKey,
    responses((status = OK, body = KeyDescription, description = "The revoked key.")),
    extensions(("x-refusals" = json!(["keys_disabled"]))),
)]
pub async fn revoke(
    State(store): State<Store>,
    KeyManager { access, context }: KeyManager,
    Json(request): Json<RevokeKey>,
) -> api::Result<KeyDescription> {
    let completed = store.run(&request, &context).await?;
    refresh(&store, access.ring(), &completed.reply.key.key_id).await;
    Ok(Answer::ok(completed.map(|reply| reply.key)))
}
