//! What operators see of the service: logs and metrics.

mod logs;
mod metrics;

pub use logs::{LogFormat, start_logs};
pub use metrics::{prometheus, record_request, run_upkeep};
