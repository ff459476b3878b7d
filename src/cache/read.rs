//! `GET /cache/{key}`: reads a value from the cache. It never gives a lease.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES, ENTRY, TAGS, codes,
    key::{CacheKey, PathKey},
    value::{StoredValue, ValueEncoding, ValueText},
};
use crate::{
    api::{self, Answer, Caller, Problem},
    store::{Completed, Invocation, Operation, RedisValue, Store},
    types::Code,
};

/// The most times that an entry is read again because its large value was replaced meanwhile.
const ATTEMPTS: usize = 3;

/// Reads an entry by its key.
struct ReadEntry<'a>(&'a CacheKey);

/// A value of the cache.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "key": "account:alice:summary",
    "value": "{\"balance\":\"120.50\"}",
    "version": 7,
    "age_ms": 1200,
    "expires_in_ms": 58_800,
    "stale": false
}))]
pub struct CacheEntry {
    /// Key of the entry.
    pub key: CacheKey,
    /// Value, as it was stored.
    pub value: String,
    /// Way in which `value` is written, left out for `utf8`.
    #[serde(skip_serializing_if = "ValueEncoding::is_utf8")]
    #[schema(required = false)]
    pub encoding: ValueEncoding,
    /// Version of the entry: the one that its writers give, or the number of values that it has had.
    pub version: u64,
    /// Time in milliseconds since the value was stored.
    pub age_ms: u64,
    /// Time in milliseconds until the value ends; 0 for a stale one.
    pub expires_in_ms: u64,
    /// True if the value has ended and is served until somebody has filled the entry.
    pub stale: bool,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct ReadReply {
    state: String,
    version: u64,
    age_ms: u64,
    expires_in_ms: u64,
    is_bytes: bool,
    field: Option<u64>,
    stamp: RedisValue,
    value: RedisValue,
}

impl Operation for ReadEntry<'_> {
    const NAME: &'static str = "cache/read";
    const CODES: &'static [Code] = CODES;
    type Reply = ReadReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("entry_key", ENTRY, self.0)
            .derived_key("tags_key", TAGS, ENTRY)
            .arg("key", self.0);
    }
}

/// Read a value
///
/// A value that has ended is served as stale for the time that it was stored with. One that was invalidated
/// is not served. Nobody gets a lease, so this call is for those who do not fill the cache.
#[utoipa::path(
    get,
    path = "/cache/{key}",
    operation_id = ReadEntry::NAME,
    tag = "cache",
    params(("key" = CacheKey, Path, description = "Key of the entry, with `/` and other reserved characters as escapes.")),
    responses((status = OK, body = CacheEntry, description = "The value.")),
)]
pub async fn read(
    State(store): State<Store>,
    Caller(context): Caller,
    PathKey(key): PathKey,
) -> api::Result<CacheEntry> {
    for _ in 0..ATTEMPTS {
        let ReadReply { state, version, age_ms, expires_in_ms, is_bytes, field, stamp, value } =
            store.run(&ReadEntry(&key), &context).await?.reply;
        let stored = StoredValue::new(value, stamp, field, is_bytes);
        if let Ok(ValueText { text: value, encoding }) =
            stored.read(&store, &context.space, &key).await?
        {
            let stale = state == "stale";
            let reply = CacheEntry { key, value, encoding, version, age_ms, expires_in_ms, stale };
            return Ok(Answer::ok(Completed { reply, replayed: false }));
        }
    }
    // Its large value is lost.
    Err(Problem::refused(codes::CACHE_MISS, [("key", key.to_string().into())]))
}
