//! The rule `undeclared-key`: a command on a key that is written in the source.

use super::{forbidden_command::is_forbidden, warning, words::Words};
use crate::scripts::source::Diagnostic;

/// Commands without a key as their first argument.
const WITHOUT_FIRST_KEY: &[&str] = &[
    "TIME",
    "PING",
    "ECHO",
    "BITOP",
    "OBJECT",
    "XINFO",
    "XGROUP",
    "ZUNION",
    "ZINTER",
    "ZDIFF",
    "ZINTERCARD",
    "SINTERCARD",
    "LMPOP",
    "ZMPOP",
];

/// Judges a word that may begin the call of a command.
pub(super) fn check(words: &Words, at: usize) -> Option<Diagnostic> {
    let command = words.command_call(at)?;
    let (key, place) = command.first_string?;
    let name = command.name.as_str();
    if WITHOUT_FIRST_KEY.contains(&name) || is_forbidden(name) {
        return None;
    }
    let message = format!(
        "The key `{key}` was not passed in: a key stands in KEYS, or begins with one that does"
    );
    Some(warning(place, "undeclared-key", message))
}
