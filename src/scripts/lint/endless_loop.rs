//! The rule `endless-loop`: a loop whose condition always holds, and in which nothing ends it.

use super::{
    blocks::{Block, BlockKind},
    warning,
    words::Words,
};
use crate::scripts::source::Diagnostic;

/// Judges a block by the word that closes it, which for a `repeat` stands before its condition.
pub(super) fn check(block: &Block, words: &Words, closed_at: usize) -> Option<Diagnostic> {
    let is_endless = match block.kind {
        BlockKind::EndlessLoop => true,
        BlockKind::Repeat => ["false", "nil"].contains(&words.text(closed_at + 1)),
        BlockKind::Function | BlockKind::Table | BlockKind::Other => false,
    };
    let message =
        "The loop has no `break`, no `return` and no `error`, so it runs until its timeout";
    let found = is_endless && !block.ends;
    found.then(|| warning(block.opened_at, "endless-loop", message.to_owned()))
}
