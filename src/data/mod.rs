//! Commands over plain data keys, which `batch` and `transactions` share.
//!
//! A data key is the caller's own: `lockstep-data:{space}:<key>`. No key of the service has that
//! prefix, so a caller can never reach one. [`read_commands`] turns what a caller sent into checked
//! [`DataCommand`]s, whose scripts run them as commands of Redis, and [`DataResult`] is what the
//! caller is answered for each of them.

mod command;
mod input;
mod result;

pub use command::{DataCommand, DataCommandType};
pub use input::{DataCommandInput, Encoding, read_commands};
pub use result::{CommandReply, CommandStatus, DataFailure, DataResult};

use crate::types::Code;

/// The problem codes that only commands over data keys answer.
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

/// The most bytes of values that one call reads. A read starts while less than this has been read, so
/// that the total can exceed it by one value.
pub const READ_BUDGET: usize = 4 * 1024 * 1024;
