//! Logs and metrics of the service, for its operators.

mod failures;
mod log_writer;
mod logs;
mod metrics;

pub use failures::{LoggedFailure, log_failure, log_repeats};
pub use logs::{LogFormat, Logs, panic_text, start_logs};
pub use metrics::{prometheus, record_request, run_upkeep};
