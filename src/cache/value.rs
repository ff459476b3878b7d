//! Values of cache entries: as `fill` and `set` take them, as they are stored, and as answers have them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::key::CacheKey;
use crate::{
    api::Problem,
    store::{Error, Failure, Invocation, LARGE_BYTES, LargeValue, RedisValue, Store},
    types::{Id, LimitKey, Ttl, limits::MAX_TTL_MS},
};

/// The most bytes of a value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// The most bytes of a body with a value: every character of a text may be written as an escape of six.
pub const MAX_BODY_BYTES: usize = 6 * MAX_VALUE_BYTES + 64 * 1024;

/// The most tags of an entry.
pub const MAX_TAGS: usize = 16;

/// The kind of the hash that a large value stands in.
pub const VALUES: &str = "cache_value";

/// The way in which a value is written in JSON.
///
/// - `utf8`: as it is.
/// - `base64`: bytes, in the alphabet of RFC 4648 with padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueEncoding {
    /// Text as it is.
    #[default]
    Utf8,
    /// Bytes in base64.
    Base64,
}

impl ValueEncoding {
    /// True for the encoding that answers leave out.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub fn is_utf8(&self) -> bool {
        *self == ValueEncoding::Utf8
    }
}

/// A new value of an entry, with all that a caller says of it. [`NewValue::of`] checks it.
pub struct NewValue {
    bytes: Vec<u8>,
    encoding: ValueEncoding,
    ttl_ms: Ttl,
    stale_ms: u64,
    refresh_ms: u64,
    tags: Vec<LimitKey>,
    /// The mark that a large value is stored with.
    stamp: [u8; 16],
}

impl NewValue {
    /// Checks a new value.
    ///
    /// # Errors
    ///
    /// `validation_failed` with a pointer to the field.
    pub fn of(
        value: String,
        encoding: ValueEncoding,
        ttl_ms: Ttl,
        (stale_ms, refresh_ms): (u64, u64),
        tags: Vec<LimitKey>,
    ) -> Result<NewValue, Problem> {
        let bytes = match encoding {
            ValueEncoding::Utf8 => value.into_bytes(),
            ValueEncoding::Base64 => STANDARD.decode(value).map_err(|_| {
                let detail = "The value is no base64 with padding (RFC 4648, section 4).";
                Problem::validation("/value", detail)
            })?,
        };
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(Problem::validation("/value", "A value has at most 1048576 bytes."));
        }
        if stale_ms > MAX_TTL_MS.unsigned_abs() {
            let detail = "A value is stale for at most 2592000000 ms (30 days).";
            return Err(Problem::validation("/stale_ms", detail));
        }
        if refresh_ms > ttl_ms.as_ms() {
            let detail = "A value is refreshed at most ttl_ms before its end.";
            return Err(Problem::validation("/refresh_ms", detail));
        }
        check_tags(&tags, MAX_TAGS)?;
        let stamp = Uuid::now_v7().into_bytes();
        Ok(NewValue { bytes, encoding, ttl_ms, stale_ms, refresh_ms, tags, stamp })
    }

    /// Binds the value and what is said of it, and a line for each tag.
    pub fn bind(&self, invocation: &mut Invocation) {
        let NewValue { bytes, encoding, ttl_ms, stale_ms, refresh_ms, tags, stamp } = self;
        invocation.arg("is_bytes", *encoding == ValueEncoding::Base64);
        if bytes.len() > LARGE_BYTES {
            invocation.derived_bytes("value", stamp).stamped_arg("large", stamp, bytes);
        } else {
            invocation.bytes_arg("value", bytes).derived_arg("large", "");
        }
        invocation.arg("ttl_ms", ttl_ms).arg("stale_ms", stale_ms).arg("refresh_ms", refresh_ms);
        for tag in tags {
            invocation.arg("tag", tag);
        }
    }
}

/// Checks the tags of a call, of which there are `most` at most.
///
/// # Errors
///
/// `validation_failed` if there are more, or if one stands twice.
pub fn check_tags(tags: &[LimitKey], most: usize) -> Result<(), Problem> {
    if tags.len() > most {
        return Err(Problem::validation("/tags", format!("There are at most {most} tags.")));
    }
    for (index, tag) in tags.iter().enumerate() {
        if tags[..index].contains(tag) {
            return Err(Problem::validation(&format!("/tags/{index}"), "A tag is named once."));
        }
    }
    Ok(())
}

/// A value as a reply has it: here, or the place of a large one.
pub struct StoredValue {
    value: RedisValue,
    stamp: RedisValue,
    field: Option<u64>,
    is_bytes: bool,
}

/// A value as an answer has it.
#[derive(Clone)]
pub struct ValueText {
    /// The value, encoded.
    pub text: String,
    /// Its encoding.
    pub encoding: ValueEncoding,
}

impl StoredValue {
    /// The parts of a reply.
    pub fn new(
        value: RedisValue,
        stamp: RedisValue,
        field: Option<u64>,
        is_bytes: bool,
    ) -> StoredValue {
        StoredValue { value, stamp, field, is_bytes }
    }

    /// Returns the value, which is read from its place if it is large; or its stamp where it is no longer there.
    ///
    /// # Errors
    ///
    /// The failure of that read; or [`Failure::UnexpectedReply`] if a text is none.
    pub async fn read(
        self,
        store: &Store,
        space: &Id,
        key: &CacheKey,
    ) -> Result<Result<ValueText, Vec<u8>>, Error> {
        let bytes = match (self.value, self.stamp, self.field) {
            (RedisValue::Bytes(bytes), ..) => bytes,
            (_, RedisValue::Bytes(stamp), Some(field)) => {
                let place = LargeValue { space, kind: VALUES, id: key, field, stamp: &stamp };
                match Box::pin(store.read_large(place)).await? {
                    Some(bytes) => bytes,
                    None => return Ok(Err(stamp)),
                }
            }
            _ => return Err(unreadable(key)),
        };
        Ok(Ok(match self.is_bytes {
            true => ValueText { text: STANDARD.encode(bytes), encoding: ValueEncoding::Base64 },
            false => {
                let text = String::from_utf8(bytes).map_err(|_| unreadable(key))?;
                ValueText { text, encoding: ValueEncoding::Utf8 }
            }
        }))
    }
}

fn unreadable(key: &CacheKey) -> Error {
    Failure::UnexpectedReply(format!("the cache entry {key} holds no value that can be read"))
        .into()
}
