//! Log lines on standard error, by `tracing`. `cli::serve` starts them.

use std::{
    any::Any,
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
    time::Duration,
};

use clap::ValueEnum;
use tracing::Dispatch;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use super::{Traces, failures, log_writer::LogWriter};

/// The longest wait for the log at the end of the program, where nobody reads it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// The logs of this process. Dropping this writes what is left, and waits for that a second at most.
pub struct Logs(LogWriter);

/// Starts writing logs to standard error, for the rest of the process, panics included. `filter` is a
/// directive of `tracing_subscriber::EnvFilter`, such as `info` or `lockstep=debug`; an invalid one counts
/// as `info`. Text is coloured on a terminal, unless the environment has a `NO_COLOR`. With `traces`, spans are
/// exported too.
///
/// # Errors
///
/// The system has no thread to give.
pub fn start_logs(format: LogFormat, filter: &str, traces: Option<&Traces>) -> io::Result<Logs> {
    let refuses_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = io::stderr().is_terminal() && !refuses_colour;
    let writer = LogWriter::start(io::stderr(), coloured)?;
    match traces {
        None => subscriber(format, filter, coloured, writer.clone()).init(),
        Some(traces) => traced_subscriber(format, filter, coloured, writer.clone(), traces).init(),
    }
    panic::set_hook(Box::new(log_panic));
    Ok(Logs(writer))
}

/// What formats events and hands them to `writer`.
fn subscriber(format: LogFormat, filter: &str, coloured: bool, writer: LogWriter) -> Dispatch {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured).with_writer(writer);
    match format {
        LogFormat::Text => logs.finish().into(),
        LogFormat::Json => logs.json().finish().into(),
    }
}

/// The same, and beside it what makes spans for `traces`. The filter is one of log lines only.
fn traced_subscriber(
    format: LogFormat,
    filter: &str,
    coloured: bool,
    writer: LogWriter,
    traces: &Traces,
) -> Dispatch {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_ansi(coloured).with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces.layer()).into()
}

/// Logs a panic. The hook of the standard library writes to standard error itself, and would wait for
/// its reader.
fn log_panic(panic: &PanicHookInfo) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, cause = panic_text(panic.payload()), "a panic");
}

/// The text of a panic.
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

impl Drop for Logs {
    fn drop(&mut self) {
        failures::log_repeats();
        self.0.flush(FLUSH_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        panic::catch_unwind,
        sync::{Arc, Mutex},
    };

    use tracing::dispatcher::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `events` make.
    fn logged(format: LogFormat, coloured: bool, events: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = LogWriter::start(sink.clone(), coloured).unwrap();
        with_default(&subscriber(format, "trace", coloured, writer.clone()), events);
        writer.flush(Duration::from_secs(20));
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    /// Puts a value into every place of an event that can hold one.
    fn log_everywhere(value: &str) {
        let span = tracing::info_span!("call", text = value, display = %value, debug = ?value);
        let _entered = span.enter();
        tracing::error!(text = value, display = %value, debug = ?value, "message {value}");
    }

    #[test]
    fn an_event_is_one_line_without_control_characters_whatever_its_values() {
        let hostile: String = (0..0xb0).chain(0x2020..0x2030).filter_map(char::from_u32).collect();
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, false, || log_everywhere(&hostile));
            let (line, rest) = text.split_once('\n').unwrap();
            assert_eq!(rest, "", "{format:?}");
            let found = line.chars().find(|&character| {
                character.is_control() && character != '\t'
                    || "\u{2028}\u{2029}".contains(character)
            });
            assert_eq!(found, None, "{format:?}: {line}");
            if format == LogFormat::Json {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(event["fields"]["text"], hostile.as_str());
            }
        }
    }

    #[test]
    fn a_value_cannot_steer_a_terminal() {
        let text = logged(LogFormat::Text, true, || log_everywhere("\u{1b}[2J\u{9b}2J\u{7}\r"));
        assert!(text.contains('\u{1b}'), "{text}");
        assert!(!text.contains("\u{1b}[2J") && !text.contains(['\u{9b}', '\u{7}', '\r']), "{text}");
        let uncoloured = logged(LogFormat::Text, false, || log_everywhere("\u{1b}[31m"));
        assert!(!uncoloured.contains('\u{1b}'), "{uncoloured}");
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let before = panic::take_hook();
        let text = logged(LogFormat::Json, false, || {
            panic::set_hook(Box::new(log_panic));
            let _ = catch_unwind(|| panic!("first\nsecond"));
        });
        panic::set_hook(before);
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["fields"]["cause"], "first\nsecond");
        assert!(event["fields"]["place"].as_str().unwrap().contains("logs.rs:"));
    }
}
