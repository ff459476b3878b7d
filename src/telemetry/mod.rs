//! Logs and metrics of the service, for its operators.

mod logs;
mod metrics;

pub use logs::{LogFormat, start_logs};
pub use metrics::{prometheus, record_request, run_upkeep};
