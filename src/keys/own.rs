//! `GET /keys/self`: reads the key of the call.

use axum::extract::State;

use super::{description::KeyDescription, get::GetKey};
use crate::{
    api::{self, Answer, KeyManager},
    store::{Completed, Store},
    types::{Id, codes},
};

/// Get the key of this call
///
/// Answers the key that the call is made with, without its secret. Any key may call this, whatever its scopes are.
#[utoipa::path(
    get,
    path = "/keys/self",
    operation_id = "keys/self",
    tag = "keys",
    responses((status = OK, body = KeyDescription, description = "The key.")),
    extensions(("x-access" = json!("any key")), ("x-refusals" = json!([
        "keys_disabled", "key_not_found", "idempotency_key_invalid", "validation_failed", "overloaded", "shutting_down",
        "store_unavailable", "store_busy", "store_loading", "internal_error"
    ]))),
)]
pub async fn own(
    State(store): State<Store>,
    KeyManager { context, .. }: KeyManager,
) -> api::Result<KeyDescription> {
    let principal = context.principal.clone().ok_or(codes::UNAUTHENTICATED)?;
    if principal.is_root() {
        let reply = KeyDescription::of_root(&principal);
        return Ok(Answer::ok(Completed { reply, replayed: false }));
    }
    let key_id = Id::try_from(principal.key_id.to_string()).map_err(|_| codes::INVALID_ID)?;
    let completed = store.run(&GetKey(key_id), &context).await?;
    Ok(Answer::ok(completed.map(|reply| reply.key)))
}
