//! `GET /keys/{key_id}`: reads a key.

use axum::extract::State;

use super::{
    CODES, KEY,
    description::{KeyDescription, KeyReply},
};
use crate::{
    api::{self, Answer, KeyManager, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

/// Reads a key.
pub struct GetKey(pub Id);

impl Operation for GetKey {
    const NAME: &'static str = "keys/get";
    const CODES: &'static [Code] = CODES;
    type Reply = KeyReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("key_record", KEY, &self.0).arg("key_id", &self.0);
    }
}

/// Get a key
///
/// Answers the key without its secret. A revoked key is answered for 90 days.
#[utoipa::path(
    get,
    path = "/keys/{key_id}",
    operation_id = GetKey::NAME,
    tag = "keys",
    params(("key_id" = Id, Path, description = "Id of the key.", example = "4fTzPq81LmXw")),
    responses((status = OK, body = KeyDescription, description = "The key.")),
    extensions(("x-refusals" = json!(["keys_disabled"]))),
)]
pub async fn get(
    State(store): State<Store>,
    KeyManager { context, .. }: KeyManager,
    Path(key_id): Path,
) -> api::Result<KeyDescription> {
    let completed = store.run(&GetKey(key_id), &context).await?;
    Ok(Answer::ok(completed.map(|reply| reply.key)))
}
