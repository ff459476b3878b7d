//! Logs, metrics, traces and statistics of the service, for its operators.

mod calls;
mod contention;
mod failures;
mod histogram;
mod log_writer;
mod logs;
mod metrics;
mod traces;

pub use calls::{CallOutcome, CallStatistics, CallWindow, FailedCall, OperationCalls};
pub use contention::ContendedKeys;
pub use failures::{LoggedFailure, log_failure, log_repeats};
pub use histogram::DurationHistogram;
pub use logs::{LogFormat, Logs, panic_text, start_logs};
pub use metrics::{prometheus, record_request, register_counter, render_metrics, run_upkeep};
pub use traces::{Traces, join_trace, otlp_endpoint, trace_id_of};
