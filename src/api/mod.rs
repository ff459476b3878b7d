//! The parts that every endpoint shares: reading a request (`extract`), running a command (`command`),
//! answering it (`answer`), refusing it (`problem`), and the code around every
//! request (`middleware`). Handlers of all domains call it; it knows none of them.

mod answer;
mod command;
mod extract;
pub mod middleware;
mod problem;

pub use answer::{Answer, REPLAYED};
pub use command::{Command, CommandEntry, PreparedCommand};
pub use extract::{
    Caller, IfMatch, Json, Page, Path, Query, id_cursor, idempotency_key, number_cursor,
    page_limit, read_json,
};
pub use middleware::{InFlight, Limits, RequestInfo, ShutdownGate};
pub use problem::{Outcome, Problem, ProblemBody};

/// The result of every handler.
pub type Result<T> = std::result::Result<Answer<T>, Problem>;
