//! Guards of a transaction: conditions on data keys, which `run` evaluates before anything happens.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::Problem,
    store::WatchedValue,
    types::{Id, enum_from_str},
};

/// A condition on a data key. The transaction happens only if all guards hold.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key": "balance", "op": "gte", "value": "10" }))]
pub struct DataGuard {
    /// Data key whose value is compared.
    pub key: Id,
    /// Comparison that must hold between the stored value and `value`.
    #[serde(deserialize_with = "enum_from_str")]
    pub op: GuardOperator,
    /// Value to compare with; not for `exists` and `absent`. For `gt`, `gte`, `lt` and `lte` it is a
    /// plain decimal number of up to 28 digits.
    pub value: Option<String>,
}

/// A comparison. `eq` and `ne` compare the stored string as text, and a key that holds no string is
/// `ne` to every value; `gt`, `gte`, `lt` and `lte` compare it as a number, and fail if it is none;
/// `exists` and `absent` ask whether the key exists, with a value of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Op)]
pub enum GuardOperator {
    /// The key holds exactly this text.
    Eq,
    /// The key holds another text, or no string.
    Ne,
    /// The key holds a greater number.
    Gt,
    /// The key holds this number or a greater one.
    Gte,
    /// The key holds a smaller number.
    Lt,
    /// The key holds this number or a smaller one.
    Lte,
    /// The key exists, whatever type of value it has.
    Exists,
    /// The key does not exist.
    Absent,
}

/// A guard that does not hold. The script answers these members with the refusal `guard_failed`.
#[derive(Debug, Clone)]
pub struct FailedGuard<'a> {
    /// Data key of the guard.
    pub key: &'a Id,
    /// Comparison that does not hold.
    pub op: GuardOperator,
    /// Value of the guard, if it has one.
    pub expected: Option<&'a str>,
    /// The string that the key holds, the type of another value, or `None` for a key that does not
    /// exist.
    pub actual: Option<String>,
}

impl DataGuard {
    /// Checks that the guard has a value if and only if its comparison needs one.
    ///
    /// # Errors
    ///
    /// `validation_failed`, with a pointer that begins at the guard.
    pub fn check(&self) -> Result<(), Problem> {
        use GuardOperator::{Absent, Eq, Exists, Ne};
        let invalid = |detail| Err(Problem::validation("/value", detail));
        match (self.op, &self.value) {
            (Exists | Absent, Some(_)) => invalid("This guard has no value."),
            (Exists | Absent, None) => Ok(()),
            (_, None) => invalid("This guard needs a value."),
            (Eq | Ne, Some(_)) => Ok(()),
            (_, Some(value)) if parse_decimal(value.as_bytes()).is_none() => {
                invalid("This guard compares numbers, and this is none of up to 28 digits.")
            }
            _ => Ok(()),
        }
    }

    /// Evaluates the guard for a watched value; `None` if it holds.
    pub fn evaluate(&self, watched: &WatchedValue) -> Option<FailedGuard<'_>> {
        let expected = self.value.as_deref();
        let text = watched.text.as_deref();
        let ordering = || -> Option<Ordering> {
            Some(parse_decimal(text?)?.cmp(&parse_decimal(expected?.as_bytes())?))
        };
        let holds = match self.op {
            GuardOperator::Eq => text == expected.map(str::as_bytes),
            GuardOperator::Ne => text != expected.map(str::as_bytes),
            GuardOperator::Gt => ordering().is_some_and(Ordering::is_gt),
            GuardOperator::Gte => ordering().is_some_and(Ordering::is_ge),
            GuardOperator::Lt => ordering().is_some_and(Ordering::is_lt),
            GuardOperator::Lte => ordering().is_some_and(Ordering::is_le),
            GuardOperator::Exists => watched.kind != "none",
            GuardOperator::Absent => watched.kind == "none",
        };
        let actual = || match (text, watched.kind.as_str()) {
            (Some(text), _) => Some(String::from_utf8_lossy(text).into_owned()),
            (None, "none") => None,
            (None, kind) => Some(format!("a {kind}")),
        };
        (!holds).then(|| FailedGuard { key: &self.key, op: self.op, expected, actual: actual() })
    }
}

/// Reads a decimal number of up to 28 digits without an exponent.
fn parse_decimal(text: &[u8]) -> Option<Decimal> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if plain { Decimal::from_str_exact(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use GuardOperator as Op;

    use super::*;

    fn holds(op: GuardOperator, actual: Option<&str>, value: &str) -> bool {
        let key = Id::try_from("k".to_owned()).unwrap();
        let guard = DataGuard { key, op, value: Some(value.to_owned()) };
        let kind = if actual.is_some() { "string" } else { "none" }.to_owned();
        guard
            .evaluate(&WatchedValue { kind, text: actual.map(|text| text.as_bytes().to_vec()) })
            .is_none()
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_text_as_text() {
        assert!(holds(Op::Gte, Some("10"), "9.99") && !holds(Op::Lt, Some("10"), "9.99"));
        assert!(holds(Op::Lte, Some("1.0"), "1") && !holds(Op::Eq, Some("1.0"), "1"));
        assert!(holds(Op::Gt, Some("9007199254740993"), "9007199254740992"));
        assert!(holds(Op::Lt, Some("-2"), "-1") && !holds(Op::Gt, Some("-2"), "-1"));
        for odd in [None, Some(""), Some("ten"), Some("1e3"), Some("nan"), Some(" 1"), Some("0x10")]
        {
            for op in [Op::Gt, Op::Gte, Op::Lt, Op::Lte] {
                assert!(!holds(op, odd, "0"), "{odd:?}");
            }
        }
        assert!(holds(Op::Ne, None, "1") && !holds(Op::Eq, None, ""));
    }
}
