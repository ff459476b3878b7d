//! Commands over plain data keys: what `/batch` and `/transactions` share. The keys are callers' own,
//! in a part of Redis in which nothing of the service is.

mod command;
mod input;
mod result;

pub use command::{Command, Word};
pub use input::{Encoding, Input};
pub use result::{Failed, Reply, Result, Status, written};

use crate::{
    api::Problem,
    types::{Code, Invalid},
};

/// Why a command over data keys is refused.
pub const CODES: &[Code] = &[
    Code {
        code: "command_not_allowed",
        status: 422,
        title: "Command not allowed",
        says: "There is no command {command}: there are set, get, incr, decr, del, expire, hset, hget, lpush, rpush, sadd and zadd.",
        explanation: "Data keys take a few commands, each checked before anything runs. Nothing was done.",
        retryable: false,
    },
    Code {
        code: "wrong_type",
        status: 422,
        title: "Key of another type",
        says: "The key {key} holds {actual}, and this needs {needed}.",
        explanation: "The command is for another type of value, or the number it counts with is none or leaves \
                      64 bits. In a transaction nothing was done; in a batch this command did nothing.",
        retryable: false,
    },
];

fn refuse(detail: impl Into<String>, pointer: &str) -> Problem {
    Problem::invalid(&Invalid::new("validation_failed", detail), pointer)
}
