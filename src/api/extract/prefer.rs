//! The header `Prefer: wait=SECONDS`, which says how long a call may wait.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};

use crate::api::Answer;

/// The longest wait of a call in milliseconds. Most proxies cut a call off after 30 or 60 seconds.
pub const MAX_WAIT_MS: u64 = 25_000;

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The wait in milliseconds that the header `Prefer` asks for. A handler that took all headers would keep them
/// for as long as the call waits.
#[derive(Debug, Clone, Copy)]
pub struct PreferredWait(pub Option<u64>);

impl<S: Sync> FromRequestParts<S> for PreferredWait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<PreferredWait, Infallible> {
        Ok(PreferredWait(preferred_wait_ms(&parts.headers)))
    }
}

impl PreferredWait {
    /// The wait of a call whose body says `wait_ms`, which comes before the header.
    pub fn or(self, wait_ms: Option<u64>) -> u64 {
        wait_ms.or(self.0).unwrap_or_default()
    }

    /// The preference as far as the body has left it: none where that says `wait_ms`.
    #[must_use]
    pub fn unless(self, wait_ms: Option<u64>) -> PreferredWait {
        PreferredWait(self.0.filter(|_| wait_ms.is_none()))
    }

    /// Says on an answer that the preference was honoured.
    pub fn applied_to<T>(self, answer: Answer<T>) -> Answer<T> {
        match self.0.and_then(|ms| HeaderValue::try_from(format!("wait={}", ms / 1000)).ok()) {
            Some(applied) => answer.with_header(PREFERENCE_APPLIED, applied),
            None => answer,
        }
    }
}

/// The wait that the header `Prefer` asks for (RFC 7240, section 4.3), in milliseconds. A preference that
/// is not understood is ignored, as its standard has it; a longer wait than the longest is cut to that.
fn preferred_wait_ms(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    let seconds = preferences.find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok())?
    })?;
    Some(seconds.saturating_mul(1000).min(MAX_WAIT_MS))
}
