//! The rule `forbidden-command`: a command that no script may run here.

use super::{warning, words::Words};
use crate::scripts::source::Diagnostic;

/// Commands that no script may run here, with the reason.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "it reaches beyond the data keys of the space",
        &[
            "KEYS",
            "SCAN",
            "RANDOMKEY",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "SWAPDB",
            "MOVE",
            "COPY",
            "MIGRATE",
            "SORT",
            "SORT_RO",
            "GEORADIUS",
            "GEORADIUSBYMEMBER",
            "PUBLISH",
            "SPUBLISH",
        ],
    ),
    (
        "it waits, and no script can",
        &[
            "BLPOP",
            "BRPOP",
            "BRPOPLPUSH",
            "BLMOVE",
            "BLMPOP",
            "BZPOPMIN",
            "BZPOPMAX",
            "BZMPOP",
            "XREAD",
            "XREADGROUP",
            "WAIT",
            "WAITAOF",
            "SUBSCRIBE",
            "PSUBSCRIBE",
            "SSUBSCRIBE",
            "MONITOR",
        ],
    ),
    (
        "it belongs to the server and its administrator",
        &[
            "CONFIG",
            "SHUTDOWN",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "DEBUG",
            "ACL",
            "CLUSTER",
            "REPLICAOF",
            "SLAVEOF",
            "FAILOVER",
            "CLIENT",
            "SCRIPT",
            "FUNCTION",
            "EVAL",
            "EVALSHA",
            "EVAL_RO",
            "EVALSHA_RO",
            "FCALL",
            "FCALL_RO",
            "MULTI",
            "EXEC",
            "DISCARD",
            "WATCH",
            "UNWATCH",
            "SELECT",
            "AUTH",
            "HELLO",
            "RESET",
            "QUIT",
            "MODULE",
            "LATENCY",
            "SLOWLOG",
        ],
    ),
];

/// Judges a word that may begin the call of a command.
pub(super) fn check(words: &Words, at: usize) -> Option<Diagnostic> {
    let command = words.command_call(at)?;
    let name = command.name.as_str();
    let (reason, _) = FORBIDDEN.iter().find(|(_, names)| names.contains(&name))?;
    let message = format!("No script may run `{name}`: {reason}");
    Some(warning(command.at, "forbidden-command", message))
}

/// True if no script may run the command, whose name is in capitals.
pub(super) fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.iter().any(|(_, names)| names.contains(&name))
}
