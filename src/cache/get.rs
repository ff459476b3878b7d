//! `POST /cache/get`: gets a value, or the lease to fill the entry.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    key::CacheKey,
    lookup::{FillLease, Found, Hit, Lookup, LookupRequest},
    value::{ValueEncoding, ValueText},
};
use crate::{
    api::{self, Answer, Caller, Json, Later, MAX_WAIT_MS, PreferredWait, Problem},
    store::{Completed, Store},
    types::{Timestamp, Ttl},
};

/// Gets the value of an entry, or the lease to fill it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CacheGet, example = json!({
    "key": "account:alice:summary", "lease_ms": 5000, "wait_ms": 2000
}))]
pub struct GetValue {
    /// Key of the entry. An entry needs no declaration.
    pub key: CacheKey,
    /// Time in milliseconds that the caller has to fill the entry, if it is given the lease. After that another
    /// caller gets it.
    #[serde(default = "GetValue::default_lease")]
    #[schema(default = 5000)]
    pub lease_ms: Ttl,
    /// Longest time in milliseconds to wait while somebody else fills the entry, at most 25,000. The header
    /// `Prefer: wait=SECONDS` says the same where this field is missing; without both, the call does not wait.
    #[schema(maximum = 25_000, default = 0)]
    pub wait_ms: Option<u64>,
}

impl GetValue {
    fn default_lease() -> Ttl {
        Ttl::from_ms(5000)
    }
}

/// Answer of the cache. With `hit` there is a `value`. With a `lease_token` the caller is to compute the value and to
/// fill the entry, also beside a value that is to be refreshed. With `filling` somebody else does.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({
    "hit": false,
    "lease_token": "lease_0199f6c28f7a7c319d4e52a1b7f0c6ab",
    "lease_expires_at": "2026-01-31T12:00:05.000Z"
}))]
pub struct CacheAnswer {
    /// True if there is a value.
    pub hit: bool,
    /// Value, with `hit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Way in which `value` or `stale_value` is written, left out for `utf8`.
    #[serde(skip_serializing_if = "ValueEncoding::is_utf8")]
    #[schema(required = false)]
    pub encoding: ValueEncoding,
    /// Version of the entry, with `hit`: the one that its writers give, or the number of values that it has had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Time in milliseconds since the value was stored, with `hit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Time in milliseconds until the value ends, with `hit`; 0 for a stale one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// With `hit`: true if the value has ended and is served until somebody has filled the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
    /// Token of the lease to fill the entry, for `POST /cache/fill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<String>,
    /// Time at which the lease ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<Timestamp>,
    /// True if there is no value, and somebody else has the lease to fill the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filling: Option<bool>,
    /// With `filling`: time in milliseconds after which the lease ends at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Without `hit`: value that was invalidated with `keep_stale`, for callers who can do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_value: Option<String>,
}

impl From<Found> for CacheAnswer {
    fn from(found: Found) -> CacheAnswer {
        match found {
            Found::Hit(hit, lease) => {
                let Hit { value, version, age_ms, expires_in_ms, stale } = hit;
                let answer = CacheAnswer {
                    hit: true,
                    value: Some(value.text),
                    encoding: value.encoding,
                    version: Some(version),
                    age_ms: Some(age_ms),
                    expires_in_ms: Some(expires_in_ms),
                    stale: Some(stale),
                    ..CacheAnswer::default()
                };
                match lease {
                    Some(lease) => answer.with_lease(lease),
                    None => answer,
                }
            }
            Found::Lease(lease, kept) => CacheAnswer::of_kept(kept).with_lease(lease),
            Found::Filling(retry_after_ms, kept) => CacheAnswer {
                filling: Some(true),
                retry_after_ms: Some(retry_after_ms),
                ..CacheAnswer::of_kept(kept)
            },
        }
    }
}

impl CacheAnswer {
    fn of_kept(kept: Option<ValueText>) -> CacheAnswer {
        match kept {
            Some(ValueText { text, encoding }) => {
                CacheAnswer { stale_value: Some(text), encoding, ..CacheAnswer::default() }
            }
            None => CacheAnswer::default(),
        }
    }

    fn with_lease(self, FillLease { token, expires_at }: FillLease) -> CacheAnswer {
        CacheAnswer { lease_token: Some(token), lease_expires_at: Some(expires_at), ..self }
    }
}

/// Get a value, or the lease to fill it
///
/// A hit answers the value. On a miss one caller gets the lease: it computes the value and stores it with
/// `POST /cache/fill`. All others learn that somebody is filling the entry, or wait for that with `wait_ms`. Once the
/// value has ended, it is served as `stale` for as long as it was stored with, beside a lease for one caller; within
/// `refresh_ms` of its end one caller gets a lease beside the fresh value. A caller that goes away before it has its
/// answer gets no lease. An `Idempotency-Key` changes nothing here: values are not kept in idempotency records.
#[utoipa::path(
    post,
    path = "/cache/get",
    operation_id = "cache/get",
    tag = "cache",
    request_body = GetValue,
    params(("Prefer" = Option<String>, Header, description = "`wait=SECONDS` waits for so long, at most 25 seconds, where `wait_ms` is missing (RFC 7240).")),
    responses((status = OK, body = CacheAnswer, description = "What the cache has.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    preferred: PreferredWait,
    Json(request): Json<GetValue>,
) -> Result<Response, Problem> {
    let GetValue { key, lease_ms, wait_ms } = request;
    if wait_ms.is_some_and(|ms| ms > MAX_WAIT_MS) {
        return Err(Problem::validation("/wait_ms", "A call waits at most 25000 ms."));
    }
    let applied = preferred.unless(wait_ms);
    let wait_ms = preferred.or(wait_ms);
    let lookup = Lookup::new(store, context, LookupRequest { key, lease_ms, wait_ms });
    let answering = answer_of(lookup, applied);
    Ok(match wait_ms {
        0 => answering.await.into_response(),
        _ => Later::new(answering).into_response(),
    })
}

async fn answer_of(mut lookup: Lookup, applied: PreferredWait) -> api::Result<CacheAnswer> {
    let found = lookup.run().await?;
    let reply = CacheAnswer::from(found);
    Ok(applied.applied_to(Answer::ok(Completed { reply, replayed: false })))
}
