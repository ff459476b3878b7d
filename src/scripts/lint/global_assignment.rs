//! The rule `global-assignment`: `name = value` and `function name()` where the name is no local variable.

use super::{blocks::Blocks, warning, words::Words};
use crate::scripts::source::Diagnostic;

/// Judges a word that may be a name.
pub(super) fn check(words: &Words, at: usize, blocks: &Blocks) -> Option<Diagnostic> {
    let name = words.name(at).filter(|name| !blocks.have_local(name))?;
    let (before, after) = (words.text_before(at), words.text(at + 1));
    let is_function = before == "function" && after == "(";
    // In a table, the name before `=` is that of a field.
    let is_assigned = after == "="
        && ![".", ":", ",", "{", ";", "local", "for"].contains(&before)
        && !blocks.are_in_table();
    let message =
        || format!("`{name}` is no local variable, and the server refuses new global ones");
    let found = is_assigned || is_function;
    found.then(|| warning(words.place(at), "global-assignment", message()))
}
