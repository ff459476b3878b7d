//! `POST /keys/rotate`: gives a key another secret.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, KEY,
    description::{KeyReply, KeyWithSecret},
    follow::refresh,
    no_random_numbers,
};
use crate::{
    api::{self, Answer, Json, KeyManager},
    auth::{CallerKey, KeyDigest},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Invalid},
};

/// A key to give another secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key_id": "4fTzPq81LmXw", "overlap_ms": 3_600_000 }))]
pub struct RotateKey {
    /// Id of the key.
    pub key_id: Id,
    /// Time for which the secret before works beside the new one, in milliseconds, 0 to 30 days. With 0 it ends at
    /// once.
    #[serde(default)]
    pub overlap_ms: Overlap,
}

/// The time for which two secrets of a key work, in milliseconds: 0 to 2,592,000,000 (30 days).
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(try_from = "u64")]
#[schema(value_type = u64, minimum = 0, maximum = 2_592_000_000_u64, default = 86_400_000)]
pub struct Overlap(u64);

impl Default for Overlap {
    fn default() -> Overlap {
        Overlap(24 * 3600 * 1000)
    }
}

/// Fails with `validation_failed`.
impl TryFrom<u64> for Overlap {
    type Error = Invalid;

    fn try_from(ms: u64) -> Result<Overlap, Invalid> {
        match ms <= crate::types::limits::MAX_TTL_MS.cast_unsigned() {
            true => Ok(Overlap(ms)),
            false => Err(Invalid::new(
                "validation_failed",
                "An overlap is 0 to 2,592,000,000 milliseconds.",
            )),
        }
    }
}

struct KeyRotation {
    key_id: Id,
    digest: KeyDigest,
    overlap: Overlap,
}

impl Operation for KeyRotation {
    const NAME: &'static str = "keys/rotate";
    const CODES: &'static [Code] = CODES;
    type Reply = KeyReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("key_record", KEY, &self.key_id)
            .key("version_key", "caller_keys", "version")
            .arg("key_id", &self.key_id)
            .derived_arg("digest", self.digest)
            .arg("overlap_ms", self.overlap.0);
    }
}

/// Rotate a key
///
/// The key gets another secret, which the answer has this once. The one before works for the overlap, so that callers
/// can change over; one that still worked from an earlier rotation ends. Under an Idempotency-Key, a repeat answers
/// without the secret.
#[utoipa::path(
    post,
    path = "/keys/rotate",
    operation_id = KeyRotation::NAME,
    tag = "keys",
    request_body = RotateKey,
    responses((status = OK, body = KeyWithSecret, description = "The key with its new secret.")),
    extensions(("x-refusals" = json!(["keys_disabled"]))),
)]
pub async fn rotate(
    State(store): State<Store>,
    KeyManager { access, context }: KeyManager,
    Json(RotateKey { key_id, overlap_ms: overlap }): Json<RotateKey>,
) -> api::Result<KeyWithSecret> {
    let key = CallerKey::generate_for(key_id.as_str()).map_err(no_random_numbers)?;
    let rotation = KeyRotation { key_id, digest: key.digest(), overlap };
    let completed = store.run(&rotation, &context).await?;
    refresh(&store, access.ring(), key.id()).await;
    // The store sends a call again whose reply was lost: then this is a replay, and the secret is that of this call.
    let stored = access.ring().digest_of(key.id());
    let is_own = !completed.replayed || stored.is_some_and(|stored| stored.matches(&key.digest()));
    Ok(Answer::ok(completed.map(|reply| KeyWithSecret {
        key: is_own.then(|| key.text().to_owned()),
        description: reply.key,
    })))
}
