//! Names of what is limited or cached, which are no ids: any printable text.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Invalid, limits::MAX_LIMIT_KEY_BYTES};

/// A key of 1 to 256 bytes of printable UTF-8, such as `::1`, `auth0|u@x` or `GET /foo`.
///
/// A key has no control character, so a script can write it into JSON by escaping `"` and `\`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, min_length = 1, max_length = 256, example = "tenant-7")]
pub struct LimitKey(String);

impl LimitKey {
    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Fails with `validation_failed`.
impl TryFrom<String> for LimitKey {
    type Error = Invalid;

    fn try_from(text: String) -> Result<LimitKey, Invalid> {
        let fits = (1..=MAX_LIMIT_KEY_BYTES).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            let detail = format!(
                "A key is 1 to {MAX_LIMIT_KEY_BYTES} bytes of text without control characters."
            );
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(LimitKey(text))
    }
}

impl From<LimitKey> for String {
    fn from(key: LimitKey) -> String {
        key.0
    }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_printable_text_and_nothing_else() {
        let good = ["::1", "auth0|u@x", "GET /foo", "{a}", "\"\\", "ä🔒", &"x".repeat(256)];
        for good in good {
            assert!(LimitKey::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a\n", "a\0", "\u{7f}", "\u{85}", &"x".repeat(257), &"ä".repeat(129)] {
            assert!(LimitKey::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
