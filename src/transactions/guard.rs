use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::Problem,
    store::WatchedValue,
    types::{Id, Invalid, enum_from_str},
};

/// What must be so of a key for a transaction to happen.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key": "balance", "op": "gte", "value": "10" }))]
pub struct DataGuard {
    pub key: Id,
    #[serde(deserialize_with = "enum_from_str")]
    pub op: Op,
    /// To compare with; not for `exists` and `absent`.
    pub value: Option<String>,
}

/// How a key is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// It holds exactly this text.
    Eq,
    /// It holds another text, or nothing.
    Ne,
    /// It holds a greater number.
    Gt,
    /// It holds this number or a greater one.
    Gte,
    /// It holds a smaller number.
    Lt,
    /// It holds this number or a smaller one.
    Lte,
    /// It holds anything, of whatever type.
    Exists,
    /// It holds nothing.
    Absent,
}

/// A guard that has failed, as the script tells it.
#[derive(Debug, Clone, Serialize)]
pub struct FailedGuard<'a> {
    pub key: &'a Id,
    pub op: Op,
    pub expected: Option<&'a str>,
    pub actual: Option<String>,
}

impl DataGuard {
    /// Refuses what can never be judged.
    ///
    /// # Errors
    ///
    /// With pointers that begin at the guard.
    pub fn check(&self) -> Result<(), Problem> {
        let refuse =
            |detail| Err(Problem::invalid(&Invalid::new("validation_failed", detail), "/value"));
        match (self.op, &self.value) {
            (Op::Exists | Op::Absent, Some(_)) => refuse("This guard has no value."),
            (Op::Exists | Op::Absent, None) => Ok(()),
            (_, None) => refuse("This guard needs a value."),
            (Op::Eq | Op::Ne, Some(_)) => Ok(()),
            (_, Some(value)) if number(value.as_bytes()).is_none() => {
                refuse("This guard compares numbers, and this is none of up to 28 digits.")
            }
            _ => Ok(()),
        }
    }

    /// Why it fails, or nothing where it holds.
    pub fn judge(&self, seen: &WatchedValue) -> Option<FailedGuard<'_>> {
        let expected = self.value.as_deref();
        let text = seen.text.as_deref();
        let order =
            || -> Option<Ordering> { Some(number(text?)?.cmp(&number(expected?.as_bytes())?)) };
        let holds = match self.op {
            Op::Eq => text == expected.map(str::as_bytes),
            Op::Ne => text != expected.map(str::as_bytes),
            Op::Gt => order().is_some_and(Ordering::is_gt),
            Op::Gte => order().is_some_and(Ordering::is_ge),
            Op::Lt => order().is_some_and(Ordering::is_lt),
            Op::Lte => order().is_some_and(Ordering::is_le),
            Op::Exists => seen.kind != "none",
            Op::Absent => seen.kind == "none",
        };
        let actual = || match (text, seen.kind.as_str()) {
            (Some(text), _) => Some(String::from_utf8_lossy(text).into_owned()),
            (None, "none") => None,
            (None, kind) => Some(format!("a {kind}")),
        };
        (!holds).then(|| FailedGuard { key: &self.key, op: self.op, expected, actual: actual() })
    }
}

/// A decimal number of up to 28 digits, written plainly.
fn number(text: &[u8]) -> Option<Decimal> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if plain { Decimal::from_str_exact(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(op: Op, actual: Option<&str>, value: &str) -> bool {
        let key = Id::try_from("k".to_owned()).unwrap();
        let guard = DataGuard { key, op, value: Some(value.to_owned()) };
        let kind = if actual.is_some() { "string" } else { "none" }.to_owned();
        guard
            .judge(&WatchedValue { kind, text: actual.map(|text| text.as_bytes().to_vec()) })
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
