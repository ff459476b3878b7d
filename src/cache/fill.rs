//! `POST /cache/fill`: stores the value that the holder of a lease has computed.

use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES, bind_entry, bind_tags, codes,
    key::CacheKey,
    statistics::{Event, count},
    value::{MAX_BODY_BYTES, NewValue, VALUES, ValueEncoding},
    withdraw::LeaseWithdrawal,
};
use crate::{
    api::{self, Answer, Caller, JsonUpTo},
    store::{Completed, Error, Invocation, Operation, Store},
    types::{Code, Id, LimitKey, Timestamp, Ttl, enum_from_str},
};

/// Stores the value of an entry under the lease to fill it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "key": "account:bob:summary",
    "lease_token": "lease_0199f6c28f7a7c319d4e52a1b7f0c6ab",
    "value": "{\"balance\":\"120.50\"}",
    "ttl_ms": 60_000,
    "stale_ms": 600_000,
    "refresh_ms": 5000,
    "tags": ["account:bob"]
}))]
pub struct Fill {
    /// Key of the entry.
    pub key: CacheKey,
    /// Token of the lease, from the answer to `POST /cache/get`.
    pub lease_token: Id,
    /// Value to store, at most 1 MiB.
    pub value: String,
    /// Way in which `value` is written.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "utf8")]
    pub encoding: ValueEncoding,
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

/// A fill whose value has been checked.
pub struct FillEntry {
    key: CacheKey,
    lease_token: Id,
    value: NewValue,
}

/// A value that was stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "key": "account:alice:summary",
    "stored": true,
    "version": 7,
    "expires_at": "2026-01-31T12:01:00.000Z"
}))]
pub struct Stored {
    /// Key of the entry.
    pub key: CacheKey,
    /// Always `true`.
    pub stored: bool,
    /// Version of the entry: the one that its writers give, or the number of values that it has had.
    pub version: u64,
    /// Time at which the value ends.
    pub expires_at: Timestamp,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct FillReply {
    version: u64,
    expires_at: Timestamp,
    filled_after_ms: u64,
}

impl Operation for FillEntry {
    const NAME: &'static str = "cache/fill";
    const CODES: &'static [Code] = CODES;
    type Reply = FillReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_entry(invocation, &self.key).key("values_key", VALUES, &self.key);
        bind_tags(invocation).arg("key", &self.key).arg("lease_token", &self.lease_token);
        self.value.bind(invocation);
    }
}

/// Fill an entry
///
/// The value is stored if the lease is the living one of the entry, and those who wait for it get it. Once the
/// entry or one of its tags was invalidated, another value was stored, or the lease has ended, the call is refused
/// with `cache_lease_lost`, and what may be older than that never gets into the cache.
#[utoipa::path(
    post,
    path = "/cache/fill",
    operation_id = FillEntry::NAME,
    tag = "cache",
    request_body = Fill,
    responses((status = OK, body = Stored, description = "The value was stored.")),
)]
pub async fn fill(
    State(store): State<Store>,
    Caller(context): Caller,
    JsonUpTo(request): JsonUpTo<Fill, MAX_BODY_BYTES>,
) -> api::Result<Stored> {
    let Fill { key, lease_token, value, encoding, ttl_ms, stale_ms, refresh_ms, tags } = request;
    let value = NewValue::of(value, encoding, ttl_ms, (stale_ms, refresh_ms), tags)?;
    let fill = FillEntry { key, lease_token, value };
    let result = store.run(&fill, &context).await;
    if let Err(Error::Refused(Completed { reply, replayed: false })) = &result
        && reply.code.code == codes::CACHE_LEASE_LOST.code
    {
        count(&store, &context.space, Event::FillRefused);
        // A lease that is void by a tag would keep others from filling until its end.
        let (key, lease_token) = (fill.key.clone(), fill.lease_token.to_string());
        let withdrawal = LeaseWithdrawal { key, lease_token };
        withdrawal.run_once(&store, &context).await;
    }
    let completed = result?;
    let FillReply { version, expires_at, filled_after_ms } = completed.reply;
    if !completed.replayed {
        let filled_after = Duration::from_millis(filled_after_ms);
        count(&store, &context.space, Event::Fill(filled_after));
    }
    let reply = Stored { key: fill.key, stored: true, version, expires_at };
    Ok(Answer::ok(Completed { reply, replayed: completed.replayed }))
}
