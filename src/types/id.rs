//! Ids that callers choose.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Invalid, limits::MAX_ID_LENGTH};

/// An id of 1 to 128 characters: `[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}`.
///
/// An id has no braces, blanks, quotes or control characters. In a Redis key it therefore cannot
/// change the hash slot, and a script can write it into JSON without escaping it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$", example = "alice")]
pub struct Id(String);

impl Id {
    /// The name of a space that is the service's own. It begins with a character that no caller can give.
    pub fn of_service(name: &str) -> Id {
        Id(format!("${name}"))
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Fails with `invalid_id`.
impl TryFrom<String> for Id {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Id, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !starts_well || text.len() > MAX_ID_LENGTH || !text.bytes().all(allowed) {
            return Err(Invalid::new(
                "invalid_id",
                "An id is 1 to 128 characters of A-Z a-z 0-9 . _ : @ - and starts with a letter or a digit.",
            ));
        }
        Ok(Id(text))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_contract_allows_and_nothing_else() {
        for good in ["a", "Z9", "a.b_c:d@e-f", "0", &"x".repeat(128)] {
            assert!(Id::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let bad = [
            "",
            ":a",
            "-a",
            ".a",
            "a{b}",
            "a b",
            "a\n",
            "a\0",
            "ä",
            "a/b",
            "a\"",
            &"x".repeat(129),
        ];
        for bad in bad {
            assert!(Id::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
