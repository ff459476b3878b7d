//! What every endpoint shares: how a call comes in, how its answer goes out, one shape of error.

mod answer;
mod command;
mod conditional;
mod context;
mod entrance;
mod json;
mod paging;
mod parameters;
mod problem;

pub use answer::{Answer, REPLAYED};
pub use command::{Command, CommandEntry, PreparedCommand};
pub use conditional::Conditional;
pub use context::{Caller, IfMatch, idempotency_key};
pub use entrance::{InFlight, Limits, RequestInfo, ShutdownGate, entrance, panicked};
pub use json::{Json, read_json};
pub use paging::{KeysetScan, ListPage, ListReply, Listed, LogPage, LogRange, Page, ScanStep};
pub use parameters::{Path, Query};
pub use problem::{Outcome, Problem, ProblemBody};

/// What every handler gives.
pub type Result<T> = std::result::Result<Answer<T>, Problem>;
