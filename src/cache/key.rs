//! Keys of cache entries, as bodies and paths name them.

use std::{fmt, sync::LazyLock};

use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{Problem, ReservedNames},
    types::{Invalid, LimitKey, codes},
};

/// Keys that no entry can have, because paths hide them.
static RESERVED: LazyLock<ReservedNames> =
    LazyLock::new(|| ReservedNames::beside(super::router(), "/cache/{key}"));

/// The key of a cache entry: 1 to 256 bytes of printable UTF-8, such as `account:alice:summary`. It is not `get`,
/// `fill`, `set`, `invalidate` or `stats`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 256, example = "account:alice:summary")]
pub struct CacheKey(LimitKey);

/// Fails with `validation_failed` or `invalid_id`.
impl TryFrom<String> for CacheKey {
    type Error = Invalid;

    fn try_from(text: String) -> Result<CacheKey, Invalid> {
        RESERVED.check_name(&text)?;
        LimitKey::try_from(text).map(CacheKey)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key in the path of a call. Anything else is the problem `invalid_id`.
pub struct PathKey(pub CacheKey);

impl<S: Send + Sync> FromRequestParts<S> for PathKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<PathKey, Problem> {
        let unreadable = || {
            let detail = "The key in the path is no UTF-8 once its escapes are decoded.";
            Problem::new(codes::INVALID_ID, detail).with("parameter", "key")
        };
        let parameters = parts.extract::<RawPathParams>().await.map_err(|_| unreadable())?;
        let (name, value) = parameters.iter().next().ok_or_else(unreadable)?;
        CacheKey::try_from(value.to_owned()).map(PathKey).map_err(|invalid| {
            let detail = format_args!("The {name} in the path: {}", invalid.detail);
            Problem::new(codes::INVALID_ID, detail).with("parameter", name)
        })
    }
}
