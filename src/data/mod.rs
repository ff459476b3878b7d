//! Commands over plain data keys: what `/batch` and `/transactions` share. The keys are callers' own,
//! in a part of Redis in which nothing of the service is.

pub mod codes;
mod command;
mod input;
mod result;

pub use codes::CODES;
pub use command::{Command, Word};
pub use input::{Encoding, Input};
pub use result::{Failed, Result, Status, Told, written};

use crate::{api::Problem, types::Invalid};

/// How many bytes of data keys one call reads, and hardly more than one value above that.
pub const READ_BUDGET: usize = 4 * 1024 * 1024;

fn refuse(detail: impl Into<String>, pointer: &str) -> Problem {
    Problem::invalid(&Invalid::new("validation_failed", detail), pointer)
}
