//! Commands over plain data keys: what `/batch` and `/transactions` share. The keys are callers' own,
//! in a part of Redis in which nothing of the service is.

mod command;
mod input;
mod result;

pub use command::{Command, Word};
pub use input::{Encoding, Input};
pub use result::{Failed, Result, Status, Told, written};

use crate::{
    api::Problem,
    types::{Code, Invalid},
};

/// Why commands over data keys are refused, alone or as a transaction.
pub const CODES: &[Code] = &[
    Code {
        code: "command_not_allowed",
        status: 422,
        title: "Command not allowed",
        detail_template: "There is no command {command}: there are set, get, incr, decr, del, expire, hset, hget, lpush, rpush, sadd and zadd.",
        explanation: "Data keys take a few commands, each checked before anything runs. Nothing was done.",
        retryable: false,
    },
    Code {
        code: "wrong_type",
        status: 422,
        title: "Key of another type",
        detail_template: "The key {key} holds {actual}, and this needs {needed}.",
        explanation: "The command is for another type of value, or the number it counts with is none or leaves \
                      64 bits. In a transaction nothing was done; in a batch this command did nothing.",
        retryable: false,
    },
    Code {
        code: "result_too_large",
        status: 422,
        title: "Too much to read",
        detail_template: "What this reads is more than {most} bytes.",
        explanation: "A call reads so much of data keys and no more. Nothing was done by what was refused; in a batch, \
                      reads past that are told so in their results, and the others have happened. Ask for less \
                      at a time.",
        retryable: false,
    },
    Code {
        code: "transaction_conflict",
        status: 409,
        title: "Others were faster",
        detail_template: "In each of {attempts} attempts somebody changed a watched key. Nothing was done.",
        explanation: "A key of the transaction was changed between reading and EXEC, as often as it was tried. \
                      Nothing was done; try again, with more `max_attempts` where many contend, or use a command \
                      of this service, which needs no second attempt.",
        retryable: true,
    },
    Code {
        code: "guard_failed",
        status: 409,
        title: "Guard failed",
        detail_template: "The key {key} holds {actual}, and the guard asks for {op} {expected}.",
        explanation: "What a guard asks for is not so. Nothing was done. A comparison of numbers also fails where \
                      the key holds none.",
        retryable: false,
    },
];

/// How many bytes of data keys one call reads, and hardly more than one value above that.
pub const READ_BUDGET: usize = 4 * 1024 * 1024;

fn refuse(detail: impl Into<String>, pointer: &str) -> Problem {
    Problem::invalid(&Invalid::new("validation_failed", detail), pointer)
}
