//! A value that cannot be accepted, and how it travels through serde.

use std::fmt;

/// A value that is refused before Redis is asked: a problem code and a sentence.
///
/// serde carries errors as text, so `Display` writes `code: sentence`, and
/// [`Invalid::from_message`] parses that again on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The problem code, for example `invalid_id`.
    pub code: &'static str,
    /// A sentence for people: the value of `detail`.
    pub detail: String,
}

/// Codes that a value can be refused with.
const CODES: [&str; 8] = [
    "invalid_id",
    "invalid_amount",
    "amount_not_positive",
    "amount_scale_exceeded",
    "amount_out_of_range",
    "quantity_not_positive",
    "counter_out_of_range",
    "validation_failed",
];

impl Invalid {
    /// A refusal with one of the codes above.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Invalid {
        debug_assert!(CODES.contains(&code), "{code}");
        Invalid { code, detail: detail.into() }
    }

    /// Parses the text that `Display` wrote; `None` for a message that serde wrote itself.
    pub fn from_message(message: &str) -> Option<Invalid> {
        let (code, detail) = message.split_once(": ")?;
        let code = CODES.into_iter().find(|known| *known == code)?;
        Some(Invalid::new(code, detail))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
