//! The parts that every endpoint shares: reading a request (`extract`, within `body_room`), running a command (`command`),
//! answering it (`answer`, and `later` for one that has to be waited for), changing one version of a record (`conditional`), reading
//! pages (`paging`), refusing it (`problem`), the names that paths hide (`reserved`), and the code around every
//! request (`middleware`). Handlers of all domains call it; it knows none of them.

mod answer;
mod body_room;
mod command;
mod conditional;
mod extract;
mod later;
pub mod middleware;
mod paging;
mod problem;
mod reserved;

pub use answer::{Answer, REPLAYED, REPLICAS};
pub use body_room::BodyRoom;
pub use command::{Command, CommandEntry, PreparedCommand};
pub use conditional::Conditional;
pub use extract::{
    Caller, CallerSpace, IfMatch, Json, JsonUpTo, KeyManager, MAX_GUARDS, MAX_WAIT_MS,
    NoParameters, Path, PathNumber, PreferredWait, Query, idempotency_key, read_body, read_json,
};
pub use later::Later;
pub use middleware::{
    AccessControl, AccessSettings, AllowedHosts, EndedCall, InFlight, Limits, Observation,
    PeerAddress, RequestInfo, ShutdownGate, check_requirement, check_space,
};
pub use paging::{
    KeysetScan, ListPage, ListReply, Listed, LogPage, LogPageQuery, LogRange, Page, ScanStep,
};
pub use problem::{Outcome, Problem, ProblemBody};
pub use reserved::ReservedNames;

/// The result of every handler.
pub type Result<T> = std::result::Result<Answer<T>, Problem>;
