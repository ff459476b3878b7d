//! Text for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Text of `MIN` to `MAX` Unicode characters, without control characters.
///
/// It has no schema of its own, because all lengths would share one name in the OpenAPI document. A
/// field declares its `value_type` and its lengths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MIN: usize, const MAX: usize>(String);

/// Fails with `validation_failed`.
impl<const MIN: usize, const MAX: usize> TryFrom<String> for Text<MIN, MAX> {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let length = text.chars().count();
        if !(MIN..=MAX).contains(&length) || text.chars().any(char::is_control) {
            let detail =
                format!("This text has {MIN} to {MAX} characters, none a control character.");
            return Err(Invalid::new("validation_failed", detail));
        }
        Ok(Text(text))
    }
}

impl<const MIN: usize, const MAX: usize> From<Text<MIN, MAX>> for String {
    fn from(text: Text<MIN, MAX>) -> String {
        text.0
    }
}

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The text as a JSON string, and `null` for `None`. Scripts insert it into the JSON of their
    /// records.
    pub fn json(text: Option<&Self>) -> String {
        text.map_or_else(
            || "null".to_owned(),
            |text| serde_json::Value::String(text.0.clone()).to_string(),
        )
    }
}

impl<const MIN: usize, const MAX: usize> fmt::Display for Text<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
