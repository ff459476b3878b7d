/// Why Redis gave no reply to an operation, and so what may be said of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too much is waiting already; nothing was sent.
    #[error("the queue to the store is full")]
    Overloaded,
    /// The service is ending; nothing was sent.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// No connection, or the server refuses everybody; nothing happened.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// A script has been running for too long; nothing happened.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// The server is reading its data; nothing happened.
    #[error("the store is loading: {0}")]
    Loading(String),
    /// A replica, or a disk that cannot be written; nothing happened.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// The server is at its memory limit; nothing happened.
    #[error("the store is out of memory: {0}")]
    OutOfMemory(String),
    /// It was sent, and no answer came: it may have happened. A repeat under the same idempotency
    /// key finds out.
    #[error("no answer: {cause}")]
    Unknown {
        /// What was seen instead of an answer.
        cause: String,
        /// Whether the call carried an idempotency key.
        repeatable: bool,
    },
    /// Another operation must run first, on these keys; the script wrote nothing.
    #[error("{operation} has to run first")]
    First {
        /// The operation's name.
        operation: String,
        /// Its keys.
        keys: Vec<String>,
    },
    /// A fault of ours, or a record that is not ours: the script wrote nothing.
    #[error("the script failed: {0}")]
    Broken(String),
}

impl Failure {
    /// What an error reply of the server means, by its first word.
    pub(super) fn from_reply(code: &str, message: String) -> Failure {
        match code {
            "LOADING" => Failure::Loading(message),
            "BUSY" => Failure::Busy(message),
            "READONLY" | "MISCONF" => Failure::ReadOnly(message),
            "OOM" => Failure::OutOfMemory(message),
            "CLUSTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" | "MASTERDOWN" | "NOREPLICAS"
            | "NOAUTH" | "NOPERM" | "WRONGPASS" => Failure::Unavailable(message),
            _ => Failure::Broken(message),
        }
    }

    /// What follows the word `FIRST`, as the frame wrote it: an operation and its keys. Redis adds
    /// the place in the script.
    pub(super) fn first(details: &str) -> Failure {
        let words = details.split_whitespace().take_while(|word| *word != "script:");
        let mut words = words.map(str::to_owned);
        Failure::First { operation: words.next().unwrap_or_default(), keys: words.collect() }
    }

    /// Whether the script is sure to have ended before it wrote anything, and the fault is of one
    /// of its steps.
    pub fn is_script_error(&self) -> bool {
        matches!(self, Failure::Broken(_) | Failure::First { .. })
    }

    /// Whether it certainly did not happen and may well work in a moment.
    pub(super) fn passes(&self) -> bool {
        use Failure::{Busy, Loading, ReadOnly, Unavailable};
        matches!(self, Unavailable(_) | Busy(_) | Loading(_) | ReadOnly(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_have_their_class() {
        let class = |code| Failure::from_reply(code, "m".to_owned());
        let message = || "m".to_owned();
        assert_eq!(class("BUSY"), Failure::Busy(message()));
        assert_eq!(class("LOADING"), Failure::Loading(message()));
        assert_eq!(class("READONLY"), Failure::ReadOnly(message()));
        assert_eq!(class("MISCONF"), Failure::ReadOnly(message()));
        assert_eq!(class("OOM"), Failure::OutOfMemory(message()));
        assert_eq!(class("CLUSTERDOWN"), Failure::Unavailable(message()));
        assert_eq!(class("MOVED"), Failure::Unavailable(message()));
        assert_eq!(class("ERR"), Failure::Broken(message()));
        assert!(class("BUSY").passes() && !class("OOM").passes() && !class("ERR").passes());
    }
}
