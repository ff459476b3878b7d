//! `POST /keys`: makes a key.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, KEY,
    description::{KeyEnd, KeyName, KeyReply, KeyWithSecret, scopes_json, spaces_json},
    follow::refresh,
    no_random_numbers,
};
use crate::{
    api::{self, Answer, Json, KeyManager},
    auth::{CallerKey, KeyDigest},
    store::{Invocation, Operation, Store},
    types::Code,
};

/// The most keys that are not revoked. Each process keeps them in memory and reads all of them after a change.
const MOST_KEYS: usize = 10_000;

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "checkout",
    "scopes": ["accounts:write", "inventory/reserve"],
    "spaces": ["main", "tenant-*"]
}))]
pub struct CreateKey {
    /// Name of the key, for people: 1 to 64 characters.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    pub name: KeyName,
    /// Scopes of the key, 1 to 64 of: `*`, a scope such as `accounts:read` or `accounts:write`, or the name of an
    /// operation such as `accounts/transfer`.
    #[schema(min_items = 1, max_items = 64)]
    pub scopes: Vec<String>,
    /// Spaces that the key may be used in, 1 to 64 names, beginnings such as `tenant-*`, or `*`. A key with exactly one
    /// space needs no header `Lockstep-Space`.
    #[schema(min_items = 1, max_items = 64)]
    pub spaces: Vec<String>,
    /// Moment from which the key does not work any more, by the clock of Redis; without it, there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<KeyEnd>,
}

struct KeyCreation {
    key_id: String,
    digest: KeyDigest,
    name: KeyName,
    scopes: String,
    spaces: String,
    expires_at: Option<KeyEnd>,
}

impl Operation for KeyCreation {
    const NAME: &'static str = "keys/create";
    const CODES: &'static [Code] = CODES;
    type Reply = KeyReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .derived_key("key_record", KEY, &self.key_id)
            .key("index_key", "index", "caller_keys")
            .key("version_key", "caller_keys", "version")
            .derived_arg("key_id", &self.key_id)
            .derived_arg("digest", self.digest)
            .arg("most_keys", MOST_KEYS)
            .arg("name", KeyName::json(Some(&self.name)))
            .arg("scopes", &self.scopes)
            .arg("spaces", &self.spaces)
            .arg("expires_at", KeyEnd::ms_or_zero(self.expires_at));
    }
}

/// Make a key
///
/// The answer has the text of the key this once: only its SHA-256 is stored. Under an Idempotency-Key, a repeat answers
/// the same key without its text. This instance takes the key at once, and every other one within two seconds.
#[utoipa::path(
    post,
    path = "/keys",
    operation_id = KeyCreation::NAME,
    tag = "keys",
    request_body = CreateKey,
    responses((status = CREATED, body = KeyWithSecret, description = "The new key.")),
    extensions(("x-refusals" = json!(["keys_disabled"]))),
)]
pub async fn create(
    State(store): State<Store>,
    KeyManager { access, context }: KeyManager,
    Json(request): Json<CreateKey>,
) -> api::Result<KeyWithSecret> {
    let CreateKey { name, scopes, spaces, expires_at } = request;
    let (scopes, spaces) = (scopes_json(&scopes, &access)?, spaces_json(&spaces)?);
    let key = CallerKey::generate().map_err(no_random_numbers)?;
    let (key_id, digest) = (key.id().to_owned(), key.digest());
    let creation = KeyCreation { key_id, digest, name, scopes, spaces, expires_at };
    let completed = store.run(&creation, &context).await?;
    refresh(&store, access.ring(), &completed.reply.key.key_id).await;
    let completed = completed.map(|reply| {
        // A repeat answers the key of the first call, whose text nobody has.
        let text = (reply.key.key_id == key.id()).then(|| key.text().to_owned());
        KeyWithSecret { key: text, description: reply.key }
    });
    let answer = Answer::created(completed);
    Ok(answer.with_location(|key| format!("/keys/{}", key.description.key_id)))
}
