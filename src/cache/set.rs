//! `POST /cache/set`: stores a value without a lease, unless a newer one is there.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES, bind_entry, bind_tags,
    fill::Stored,
    key::CacheKey,
    value::{MAX_BODY_BYTES, NewValue, VALUES, ValueEncoding},
};
use crate::{
    api::{self, Answer, Caller, Command, JsonUpTo, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{Code, LimitKey, Timestamp, Ttl, enum_from_str, limits::MAX_SAFE_INTEGER},
};

/// Stores the value of an entry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CacheSet, example = json!({
    "key": "account:alice:summary",
    "value": "{\"balance\":\"120.50\"}",
    "version": 42,
    "ttl_ms": 60_000,
    "tags": ["account:alice"]
}))]
pub struct SetValue {
    /// Key of the entry.
    pub key: CacheKey,
    /// Value to store, at most 1 MiB.
    pub value: String,
    /// Way in which `value` is written.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "utf8")]
    pub encoding: ValueEncoding,
    /// Version of the value, such as that of a row in a database: a whole number up to 2^53 - 1. The value is stored
    /// only if its version is greater than the last one that a writer has given the entry. Without it the value is
    /// stored whatever is there.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub version: Option<u64>,
    /// Time in milliseconds after which the value ends.
    pub ttl_ms: Ttl,
    /// Time in milliseconds for which the value is served as stale after its end, while somebody fills the entry;
    /// at most 30 days.
    #[serde(default)]
    #[schema(default = 0, maximum = 2_592_000_000_u64)]
    pub stale_ms: u64,
    /// Time in milliseconds before the end of the value in which one caller who gets it is given a lease to
    /// refresh it; at most `ttl_ms`.
    #[serde(default)]
    #[schema(default = 0, maximum = 2_592_000_000_u64)]
    pub refresh_ms: u64,
    /// Tags by which the entry can be invalidated, at most 16.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub tags: Vec<LimitKey>,
}

/// A call whose value has been checked.
pub struct SetEntry {
    key: CacheKey,
    version: Option<u64>,
    value: NewValue,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct SetReply {
    version: u64,
    expires_at: Timestamp,
}

impl Operation for SetEntry {
    const NAME: &'static str = "cache/set";
    const CODES: &'static [Code] = CODES;
    type Reply = SetReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_entry(invocation, &self.key).key("values_key", VALUES, &self.key);
        bind_tags(invocation)
            .arg("key", &self.key)
            .arg("version", self.version.map_or(String::new(), |version| version.to_string()));
        self.value.bind(invocation);
    }
}

impl Command for SetValue {
    type Operation = SetEntry;
    type Output = Stored;

    async fn prepare(self, _: &Store, _: &Context) -> Result<SetEntry, Problem> {
        let SetValue { key, value, encoding, version, ttl_ms, stale_ms, refresh_ms, tags } = self;
        if version.is_some_and(|version| version > MAX_SAFE_INTEGER.unsigned_abs()) {
            let detail = "A version is a whole number up to 9007199254740991.";
            return Err(Problem::validation("/version", detail));
        }
        let value = NewValue::of(value, encoding, ttl_ms, (stale_ms, refresh_ms), tags)?;
        Ok(SetEntry { key, version, value })
    }

    fn answer(
        set: &SetEntry,
        result: Result<Completed<SetReply>, store::Error>,
    ) -> api::Result<Stored> {
        Ok(Answer::ok(result?.map(|SetReply { version, expires_at }| Stored {
            key: set.key.clone(),
            stored: true,
            version,
            expires_at,
        })))
    }
}

/// Set a value
///
/// For writers who know the new value. A lease to fill the entry is void, and those who wait for it get this value.
/// With `version`, writes that come late do no harm: one that is not newer than the last is refused with
/// `version_stale`. Works in `POST /atomic` beside the change that the value reflects.
#[utoipa::path(
    post,
    path = "/cache/set",
    operation_id = SetEntry::NAME,
    tag = "cache",
    request_body = SetValue,
    responses((status = OK, body = Stored, description = "The value was stored.")),
)]
pub async fn set(
    State(store): State<Store>,
    Caller(context): Caller,
    JsonUpTo(request): JsonUpTo<SetValue, MAX_BODY_BYTES>,
) -> api::Result<Stored> {
    request.run(&store, &context).await
}
