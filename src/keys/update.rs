//! `PATCH /keys/{key_id}`: changes a key.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, KEY,
    description::{KeyDescription, KeyEnd, KeyName, KeyReply, scopes_json, spaces_json},
    follow::refresh,
};
use crate::{
    api::{self, Answer, Json, KeyManager, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id, non_null},
};

/// Fields of a key to change. A field that is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "scopes": ["accounts:read"], "disabled": false }))]
pub struct UpdateKey {
    /// New name of the key, for people: 1 to 64 characters.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = String, min_length = 1, max_length = 64, required = false)]
    pub name: Option<KeyName>,
    /// New scopes in place of all old ones, 1 to 64.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 64, required = false)]
    pub scopes: Option<Vec<String>>,
    /// New spaces in place of all old ones, 1 to 64.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 64, required = false)]
    pub spaces: Option<Vec<String>>,
    /// New moment from which the key does not work any more; null for none.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<KeyEnd>>,
    /// True to have the key not work until this is false again.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = bool, required = false)]
    pub disabled: Option<bool>,
}

struct KeyUpdate {
    key_id: Id,
    name: Option<KeyName>,
    /// JSON, or empty to keep them.
    scopes: String,
    spaces: String,
    expires_at: Option<Option<KeyEnd>>,
    disabled: Option<bool>,
}

impl Operation for KeyUpdate {
    const NAME: &'static str = "keys/update";
    const CODES: &'static [Code] = CODES;
    type Reply = KeyReply;

    fn bind(&self, invocation: &mut Invocation) {
        let name = self.name.as_ref().map(|name| KeyName::json(Some(name)));
        let expires_at = self.expires_at.map(KeyEnd::ms_or_zero);
        invocation
            .key("key_record", KEY, &self.key_id)
            .key("version_key", "caller_keys", "version")
            .arg("key_id", &self.key_id)
            .arg("name", name.unwrap_or_default())
            .arg("scopes", &self.scopes)
            .arg("spaces", &self.spaces)
            .arg("expires_at", expires_at.map_or(String::new(), |moment| moment.to_string()))
            .arg("disabled", self.disabled.map_or("", |is| if is { "1" } else { "0" }));
    }
}

/// Change a key
///
/// Changes what the key may do, its name, its end, or whether it works. Every instance follows within two seconds.
#[utoipa::path(
    patch,
    path = "/keys/{key_id}",
    operation_id = KeyUpdate::NAME,
    tag = "keys",
    params(("key_id" = Id, Path, description = "Id of the key.", example = "4fTzPq81LmXw")),
    request_body = UpdateKey,
    responses((status = OK, body = KeyDescription, description = "The key after the change.")),
    extensions(("x-refusals" = json!(["keys_disabled"]))),
)]
pub async fn update(
    State(store): State<Store>,
    KeyManager { access, context }: KeyManager,
    Path(key_id): Path,
    Json(request): Json<UpdateKey>,
) -> api::Result<KeyDescription> {
    let UpdateKey { name, scopes, spaces, expires_at, disabled } = request;
    let scopes = scopes.map(|scopes| scopes_json(&scopes, &access)).transpose()?;
    let spaces = spaces.map(|spaces| spaces_json(&spaces)).transpose()?;
    let (scopes, spaces) = (scopes.unwrap_or_default(), spaces.unwrap_or_default());
    let update = KeyUpdate { key_id, name, scopes, spaces, expires_at, disabled };
    let completed = store.run(&update, &context).await?;
    refresh(&store, access.ring(), &completed.reply.key.key_id).await;
    Ok(Answer::ok(completed.map(|reply| reply.key)))
}
