//! The parts that every endpoint shares: reading a request (`extract`), running a command (`command`),
//! answering it (`answer`), changing one version of a record (`conditional`), reading
//! pages (`paging`), refusing it (`problem`), the names that paths hide (`reserved`), and the code around every
//! request (`middleware`). Handlers of all domains call it; it knows none of them.

mod answer;
mod command;
mod conditional;
mod extract;
pub mod middleware;
mod paging;
mod problem;
mod reserved;

pub use answer::{Answer, REPLAYED};
pub use command::{Command, CommandEntry, PreparedCommand};
pub use conditional::Conditional;
pub use extract::{
    Caller, IfMatch, Json, MAX_GUARDS, Path, PathNumber, Query, idempotency_key, read_body,
    read_json,
};
pub use middleware::{InFlight, Limits, RequestInfo, ShutdownGate};
pub use paging::{
    KeysetScan, ListPage, ListReply, Listed, LogPage, LogPageQuery, LogRange, Page, ScanStep,
};
pub use problem::{Outcome, Problem, ProblemBody};
pub use reserved::ReservedNames;

/// The result of every handler.
pub type Result<T> = std::result::Result<Answer<T>, Problem>;
