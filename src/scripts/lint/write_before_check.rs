//! The rule `write-before-check`: a refusal behind a write, because what was written stays.

use super::{
    warning,
    words::{WordPlace, Words},
};
use crate::scripts::source::Diagnostic;

/// Commands that write. Others are left out of the check of writes before refusals.
const WRITES: &[&str] = &[
    "SET",
    "SETEX",
    "PSETEX",
    "SETNX",
    "GETSET",
    "GETDEL",
    "APPEND",
    "SETRANGE",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "DECR",
    "DECRBY",
    "DEL",
    "UNLINK",
    "MSET",
    "MSETNX",
    "RENAME",
    "HSET",
    "HMSET",
    "HSETNX",
    "HDEL",
    "HINCRBY",
    "HINCRBYFLOAT",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "LSET",
    "LREM",
    "LTRIM",
    "LMOVE",
    "RPOPLPUSH",
    "SADD",
    "SREM",
    "SPOP",
    "SMOVE",
    "ZADD",
    "ZREM",
    "ZINCRBY",
    "ZPOPMIN",
    "ZPOPMAX",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "XADD",
];

/// The first write of a source behind which no refusal was found yet.
#[derive(Default)]
pub(super) struct Writes(Option<WordPlace>);

impl Writes {
    /// Notes a write, or judges a word that may begin a refusal. Each write is told once.
    pub fn check(&mut self, words: &Words, at: usize) -> Option<Diagnostic> {
        let command = words.command_call(at);
        if let Some(command) = command.filter(|call| WRITES.contains(&call.name.as_str())) {
            self.0 = self.0.or(Some(command.at));
        }
        if !is_refusal(words, at) {
            return None;
        }
        let written_at = self.0.take()?;
        let message = format!(
            "The script may refuse here, and has written at line {} by then: what it wrote stays",
            written_at.line
        );
        Some(warning(words.place(at), "write-before-check", message))
    }
}

/// True for `error(` and `error_reply(`. A member called `error` is something else.
fn is_refusal(words: &Words, at: usize) -> bool {
    let is_called = words.text(at + 1) == "(";
    let is_error = words.text(at) == "error" && words.text_before(at) != ".";
    is_called && (is_error || words.text(at) == "error_reply")
}
