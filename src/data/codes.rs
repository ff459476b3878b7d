//! Problem codes of commands over data keys, for the calls under `/batch` and `/transactions`.

use crate::types::code_table;

code_table! {
    COMMAND_NOT_ALLOWED "command_not_allowed" 422 final "Command not allowed"
        "There is no command {command}: there are set, get, incr, decr, del, expire, hset, hget, lpush, rpush, sadd and zadd."
        "Data keys support a few commands only, and every command is checked before any of them runs. Nothing was done."
    WRONG_TYPE "wrong_type" 422 final "Key of another type"
        "The key {key} holds {actual}, and this needs {needed}."
        "The command needs another type of value, or the number would leave the range of 64 bits or is no number. A transaction did nothing; in a batch, this command did nothing."
    RESULT_TOO_LARGE "result_too_large" 422 final "Too much to read"
        "What this reads is more than {most} bytes."
        "The call reads more bytes of data keys than one call may. What was refused did nothing. In a batch, the results say which reads were refused; its other commands have run. Ask for less in one call."
    TRANSACTION_CONFLICT "transaction_conflict" 409 retryable "Transaction conflict"
        "In each of {attempts} attempts somebody changed a watched key. Nothing was done."
        "Another caller changed a watched key in every attempt. Nothing was done. Try again, raise `max_attempts` where many callers share a key, or use a command of this service, which needs one attempt."
    GUARD_FAILED "guard_failed" 409 final "Guard failed"
        "The key {key} holds {actual}, and the guard asks for {op} {expected}."
        "The condition of a guard does not hold. Nothing was done. A comparison of numbers also fails if the key holds no number."
}
