//! Log lines on standard error, by `tracing`.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts writing logs to standard error, for the rest of the process. `filter` is a directive of
/// `tracing_subscriber::EnvFilter`, such as `info` or `lockstep=debug`; an invalid one counts as
/// `info`.
pub fn start_logs(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
