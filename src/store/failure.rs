//! Failures of the store: why an operation has no reply, and so what may be said of its effect. The
//! batcher classifies; `api` turns a failure into a problem.

use redis::ServerError;

use super::Redirect;

/// Why Redis gave no reply to an operation.
///
/// Every variant but [`Failure::Unknown`], [`Failure::NotDurable`], [`Failure::Torn`] and
/// [`Failure::UnexpectedReply`] means that nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The queue is full; nothing was sent.
    #[error("the queue to the store is full")]
    Overloaded,
    /// The service is shutting down; nothing was sent.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// There is no connection, or the server refuses the call: it asks for a password, its user lacks a
    /// right, its cluster is down.
    #[error("the store does not serve: {0}")]
    Unavailable(String),
    /// Another node of the cluster serves the slot of the call.
    #[error("the store does not serve: {0}")]
    Redirected(Redirect),
    /// No node of the cluster serves the slot of the call now: it is migrating, or its master is gone.
    #[error("the store does not serve: {0}")]
    SlotUnavailable(String),
    /// Another script has been running for too long.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// The server is reading its data.
    #[error("the store is loading: {0}")]
    Loading(String),
    /// The server is a replica, or cannot write to its disk.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// The server is at its memory limit.
    #[error("the store is out of memory: {0}")]
    OutOfMemory(String),
    /// The call was sent and no reply came, so its effect is not known.
    #[error("no answer: {cause}")]
    Unknown {
        /// The error that took the place of a reply.
        cause: String,
        /// True if a repeat finds out and has no second effect: the call carries an idempotency key.
        retry_safe: bool,
    },
    /// The call ran, and too few replicas have what it wrote, so that a failover could lose it.
    #[error("{} of {wanted} replicas have it", reached.map_or("nobody knows how many".to_owned(), |reached| reached.to_string()))]
    NotDurable {
        /// The number of replicas that have it; `None` where that is not known.
        reached: Option<u32>,
        /// The number that should.
        wanted: u32,
        /// True if a repeat waits for them and has no second effect: the call carries an idempotency key.
        retry_safe: bool,
    },
    /// The script ended before its first write and asks for another operation to run first.
    #[error("{operation} has to run first")]
    PrerequisiteRequired {
        /// The operation's name.
        operation: String,
        /// The keys it is to run on.
        keys: Vec<String>,
    },
    /// The script ended before its first write, because one of its steps must be the only one.
    #[error("a step has to be alone in its script")]
    NotIsolated,
    /// The script failed and wrote nothing, or undid what it had written: because of a bug, a record
    /// that another client has written, or a right that the Redis user lacks.
    #[error("the script failed: {0}")]
    Script(String),
    /// A commit failed in the middle and could not be undone. It is never sent again.
    #[error("a commit is torn: {0}")]
    Torn(String),
    /// The script ran, and its reply has a shape that its header does not know; or it is an error that
    /// does not say whether the script had written. A repeat would not find that out either.
    #[error("unexpected reply: {0}")]
    UnexpectedReply(String),
}

impl Failure {
    /// Classifies an error reply by its code, the first word.
    ///
    /// The runner answers `ABORTED`, `NOT_ISOLATED`, `PREREQUISITE` or `TORN` for everything that it
    /// can catch, so the codes of Redis' own are those of calls that it refused before the script
    /// began. Any other error leaves the outcome unknown, and a repeat could have a second effect even
    /// under an idempotency key, because a commit may have failed in the middle.
    pub(super) fn from_error_reply(code: &str, details: &str) -> Failure {
        let message = format!("{code} {details}");
        match code {
            "LOADING" => Failure::Loading(message),
            "BUSY" => Failure::Busy(message),
            "READONLY" | "MISCONF" | "MASTERDOWN" => Failure::ReadOnly(message),
            "OOM" => Failure::OutOfMemory(message),
            "MOVED" | "ASK" => match Redirect::parse(code, details) {
                Some(redirect) => Failure::Redirected(redirect),
                None => Failure::Unavailable(message),
            },
            "CLUSTERDOWN" | "TRYAGAIN" => Failure::SlotUnavailable(message),
            "NOREPLICAS" | "NOAUTH" | "NOPERM" | "WRONGPASS" | "DENIED" => {
                Failure::Unavailable(message)
            }
            "NOT_ISOLATED" => Failure::NotIsolated,
            "PREREQUISITE" => {
                let mut words = details.split_whitespace().map(str::to_owned);
                let operation = words.next().unwrap_or_default();
                Failure::PrerequisiteRequired { operation, keys: words.collect() }
            }
            "ABORTED" => Failure::Script(details.to_owned()),
            "TORN" => Failure::Torn(details.to_owned()),
            // EVALSHA itself is switched off. What a script runs is caught by the runner.
            "ERR" if details.starts_with("unknown command") => Failure::Unavailable(message),
            _ if details.contains("Error compiling script") => Failure::Script(message),
            // Redis refuses to kill a script that has written.
            _ if details.starts_with("Script killed by user") => Failure::Script(message),
            _ => Failure::UnexpectedReply(message),
        }
    }

    /// Classifies an error reply as the driver gives it.
    pub(super) fn from_server_error(error: &ServerError) -> Failure {
        Failure::from_error_reply(error.code(), error.details().unwrap_or_default())
    }

    /// True if the script certainly wrote nothing and one of its steps is at fault, so that the others
    /// may be sent again.
    pub fn is_script_error(&self) -> bool {
        use Failure::{NotIsolated, PrerequisiteRequired, Script};
        matches!(self, Script(_) | NotIsolated | PrerequisiteRequired { .. })
    }

    /// The failure of a call that was sent and may have run without a reply, whatever came after that.
    /// `retry_safe` is that of the call.
    pub(super) fn as_unknown(&self, retry_safe: bool) -> Failure {
        match self {
            Failure::Unknown { cause, .. } => Failure::Unknown { cause: cause.clone(), retry_safe },
            Failure::NotDurable { reached, wanted, .. } => {
                Failure::NotDurable { reached: *reached, wanted: *wanted, retry_safe }
            }
            other => Failure::Unknown { cause: other.to_string(), retry_safe },
        }
    }

    /// The same failure of a command that cannot have had an effect.
    pub(super) fn without_effect(self) -> Failure {
        match self {
            Failure::Unknown { cause, .. } | Failure::UnexpectedReply(cause) => {
                Failure::Unavailable(cause)
            }
            other => other,
        }
    }

    /// Counts and logs a torn commit; every other failure is left to the caller's answer.
    pub(super) fn report_if_torn(&self, operations: &[&'static str]) {
        if let Failure::Torn(cause) = self {
            metrics::counter!("lockstep_torn_commits_total").increment(1);
            tracing::error!(%cause, ?operations, "A COMMIT IS TORN: part of it was written");
        }
    }

    /// True if the effect of the call is not known.
    pub fn may_have_written(&self) -> bool {
        use Failure::{NotDurable, Torn, UnexpectedReply, Unknown};
        matches!(self, Unknown { .. } | NotDurable { .. } | Torn(_) | UnexpectedReply(_))
    }

    /// True if the failure of a repeat leaves open whether the first time had an effect. A script asks
    /// for a prerequisite only after it has looked for the record of the idempotency key.
    pub(super) fn says_nothing_of_before(&self) -> bool {
        !self.may_have_written() && !matches!(self, Failure::PrerequisiteRequired { .. })
    }

    /// True if the server is the reason: it cannot be reached, cannot serve, or did not answer. The service's own
    /// bounds and faults are none of these.
    pub fn is_of_server(&self) -> bool {
        use Failure::{NotDurable, OutOfMemory, Unknown};
        matches!(self, OutOfMemory(_) | Unknown { .. } | NotDurable { .. }) || self.is_transient()
    }

    /// True if nothing was written and the same call may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        use Failure::{Busy, Loading, ReadOnly, Redirected, SlotUnavailable, Unavailable};
        matches!(
            self,
            Unavailable(_)
                | Redirected(_)
                | SlotUnavailable(_)
                | Busy(_)
                | Loading(_)
                | ReadOnly(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: &str) -> Failure {
        Failure::from_error_reply(code, "m")
    }

    #[test]
    fn error_replies_are_classified_by_their_code() {
        let message = |code: &str| format!("{code} m");
        assert_eq!(class("BUSY"), Failure::Busy(message("BUSY")));
        assert_eq!(class("LOADING"), Failure::Loading(message("LOADING")));
        assert_eq!(class("READONLY"), Failure::ReadOnly(message("READONLY")));
        assert_eq!(class("MISCONF"), Failure::ReadOnly(message("MISCONF")));
        assert_eq!(class("OOM"), Failure::OutOfMemory(message("OOM")));
        assert_eq!(class("CLUSTERDOWN"), Failure::SlotUnavailable(message("CLUSTERDOWN")));
        assert_eq!(class("TRYAGAIN"), Failure::SlotUnavailable(message("TRYAGAIN")));
        assert_eq!(class("MOVED"), Failure::Unavailable(message("MOVED")));
        let ask = Failure::from_error_reply("ASK", "7 a:1");
        assert_eq!(ask.to_string(), "the store does not serve: ASK 7 a:1");
        assert!(matches!(ask, Failure::Redirected(Redirect { ask: true, slot: 7, .. })));
        assert_eq!(class("ABORTED"), Failure::Script("m".to_owned()));
        assert_eq!(class("TORN"), Failure::Torn("m".to_owned()));
        assert_eq!(class("NOT_ISOLATED"), Failure::NotIsolated);
        assert!(class("BUSY").is_transient() && !class("OOM").is_transient());
        assert!(!class("TORN").is_transient() && !class("TORN").is_script_error());
    }

    #[test]
    fn an_error_that_nothing_is_known_of_leaves_the_outcome_unknown() {
        for code in ["ERR", "WRONGTYPE", "EXECABORT", "UNKILLABLE", "NOSCRIPT", "SOMETHING", ""] {
            let failure = class(code);
            assert_eq!(failure, Failure::UnexpectedReply(format!("{code} m")));
            assert!(failure.may_have_written() && !failure.is_script_error(), "{code}");
            assert!(!failure.is_transient(), "{code}");
            let read = failure.without_effect();
            assert_eq!(read, Failure::Unavailable(format!("{code} m")));
        }
    }

    #[test]
    fn only_what_redis_refuses_and_what_the_runner_says_has_not_happened() {
        let refused = [
            "LOADING",
            "BUSY",
            "READONLY",
            "MISCONF",
            "OOM",
            "CLUSTERDOWN",
            "MOVED",
            "ASK",
            "TRYAGAIN",
            "MASTERDOWN",
            "NOREPLICAS",
            "NOAUTH",
            "NOPERM",
            "WRONGPASS",
            "DENIED",
        ];
        let told = ["ABORTED", "NOT_ISOLATED", "PREREQUISITE"];
        for code in refused.into_iter().chain(told) {
            assert!(!class(code).may_have_written(), "{code}");
            assert_eq!(class(code).is_script_error(), told.contains(&code), "{code}");
        }
        assert!(class("TORN").may_have_written());
        // The first word decides, whatever the rest says.
        let torn = Failure::from_error_reply("TORN", "OOM ABORTED Error compiling script");
        assert_eq!(torn, Failure::Torn("OOM ABORTED Error compiling script".to_owned()));
    }

    #[test]
    fn a_script_that_was_not_compiled_or_was_killed_has_written_nothing() {
        let killed = "Script killed by user with SCRIPT KILL... script: 4f29, on @user_script:3.";
        assert!(matches!(Failure::from_error_reply("ERR", killed), Failure::Script(_)));
        // A key may be called like that.
        let other = "a: Script killed by user with SCRIPT KILL";
        assert!(matches!(Failure::from_error_reply("ERR", other), Failure::UnexpectedReply(_)));
        let compile = Failure::from_error_reply("ERR", "Error compiling script (new function)");
        assert!(matches!(compile, Failure::Script(_)));
    }

    #[test]
    fn a_failed_repeat_of_a_lost_call_leaves_its_outcome_unknown() {
        for code in ["ABORTED", "BUSY", "LOADING", "READONLY", "OOM", "NOPERM", "MOVED"] {
            let failure = class(code);
            assert!(failure.says_nothing_of_before(), "{code}");
            for retry_safe in [true, false] {
                let cause = failure.to_string();
                assert_eq!(failure.as_unknown(retry_safe), Failure::Unknown { cause, retry_safe });
            }
        }
        for code in ["TORN", "ERR", "PREREQUISITE"] {
            assert!(!class(code).says_nothing_of_before(), "{code}");
        }
        let lost = Failure::Unknown { cause: "lost".to_owned(), retry_safe: false };
        let safe = Failure::Unknown { cause: "lost".to_owned(), retry_safe: true };
        assert_eq!(lost.as_unknown(true), safe);
    }

    #[test]
    fn a_prerequisite_names_its_operation_and_keys() {
        let failure = Failure::from_error_reply("PREREQUISITE", "accounts/expire a b");
        let keys = vec!["a".to_owned(), "b".to_owned()];
        let operation = "accounts/expire".to_owned();
        assert_eq!(failure, Failure::PrerequisiteRequired { operation, keys });
    }
}
