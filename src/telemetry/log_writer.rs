//! The way of a log line to standard error: a bounded queue, and a thread that writes. `logs` gives it to
//! `tracing`, so no thread that logs ever waits for the reader of the log.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// The most lines that wait to be written. The next one is dropped.
const MAX_WAITING: usize = 4096;

/// The most bytes of a line. The rest of a longer one is left out, so that the queue is bounded in bytes too.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Queues lines for a thread that writes them. Clones share the queue.
#[derive(Clone)]
pub(super) struct LogWriter {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
    coloured: bool,
}

enum Entry {
    Line(Vec<u8>),
    /// Dropped as soon as all lines before it are written, which closes the channel that it belongs to.
    Flushed(#[expect(dead_code, reason = "it tells by being dropped")] SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread, which writes to `sink` until the last clone of the writer is gone. `coloured` lets
    /// lines have colours of a terminal.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        coloured: bool,
    ) -> io::Result<LogWriter> {
        let (entries, waiting) = sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_entries(&waiting, sink, &counted);
        })?;
        Ok(LogWriter { entries, dropped, coloured })
    }

    /// Waits until all lines so far are written, `longest` at most.
    pub(super) fn flush(&self, longest: Duration) {
        let deadline = Instant::now() + longest;
        let (flushed, written) = sync_channel(0);
        let mut entry = Entry::Flushed(flushed);
        while let Err(TrySendError::Full(returned)) = self.entries.try_send(entry) {
            if Instant::now() > deadline {
                return;
            }
            entry = returned;
            thread::sleep(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Writes entries as they come. Whenever all are written, it logs how many were dropped meanwhile.
fn write_entries(waiting: &Receiver<Entry>, mut sink: impl Write, dropped: &AtomicU64) {
    let mut told = 0;
    loop {
        let entry = match waiting.try_recv() {
            Ok(entry) => entry,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let so_far = dropped.load(Ordering::Relaxed);
                if so_far > told {
                    // The queue is empty, so this line finds room in it.
                    let count = so_far - told;
                    tracing::warn!(
                        dropped = count,
                        "log lines were dropped, because nobody read them in time"
                    );
                    told = so_far;
                }
                let Ok(entry) = waiting.recv() else { return };
                entry
            }
        };
        if let Entry::Line(line) = entry {
            // Nobody can be told that the log cannot be written.
            let _ = sink.write_all(&line);
        }
    }
}

/// Takes whole lines, as `tracing_subscriber` writes them, and never waits.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = one_line(text.strip_suffix('\n').unwrap_or(&text), self.coloured);
        if self.entries.try_send(Entry::Line(text.into_bytes())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("lockstep_log_lines_dropped_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        self.clone()
    }
}

/// Returns the text as one line of at most [`MAX_LINE_BYTES`], with its newline. Every control character but
/// the tab is escaped, and so are the two line separators of Unicode; `coloured` keeps colours of a terminal.
fn one_line(text: &str, coloured: bool) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if line.len() > MAX_LINE_BYTES {
            line.push_str("...");
            break;
        }
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push('\t'),
            '\x1b' if coloured && is_colour(rest.as_str()) => line.push('\x1b'),
            '\u{2028}' | '\u{2029}' => line.push_str(&escaped(character)),
            _ if character.is_control() => line.push_str(&escaped(character)),
            _ => line.push(character),
        }
    }
    line.push('\n');
    line
}

/// The character as JSON escapes it, so that a line of JSON keeps its meaning.
fn escaped(character: char) -> String {
    format!("\\u{:04x}", u32::from(character))
}

/// True if what follows ESC only changes the colour of the text.
fn is_colour(rest: &str) -> bool {
    let parameters = rest.strip_prefix('[').map(|rest| {
        rest.trim_start_matches(|character: char| character.is_ascii_digit() || character == ';')
    });
    parameters.is_some_and(|rest| rest.starts_with('m'))
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// True while the sink is stopped, and what was written.
    type State = Mutex<(bool, Vec<u8>)>;

    /// A sink that a test can stop and look into.
    #[derive(Clone, Default)]
    struct Sink(Arc<(State, Condvar)>);

    impl Sink {
        fn stop(&self, stopped: bool) {
            self.0.0.lock().unwrap().0 = stopped;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, changed) = &*self.0;
            let mut state = changed.wait_while(state.lock().unwrap(), |state| state.0).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn lines_are_written_in_their_order() {
        let sink = Sink::default();
        let mut writer = LogWriter::start(sink.clone(), false).unwrap();
        for number in 0..100 {
            writer.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        writer.flush(LONG);
        let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        assert_eq!(sink.text().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_sink_that_nobody_reads_costs_lines_and_no_time() {
        let sink = Sink::default();
        sink.stop(true);
        let mut writer = LogWriter::start(sink.clone(), false).unwrap();
        let lines = 3 * MAX_WAITING as u64;
        for number in 0..lines {
            writer.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        writer.flush(Duration::from_millis(1));
        sink.stop(false);
        writer.flush(LONG);
        let (written, dropped) =
            (sink.text().lines().count() as u64, writer.dropped.load(Ordering::Relaxed));
        assert_eq!(written + dropped, lines);
        // One line may be on its way to the sink beside those that wait.
        assert!([MAX_WAITING as u64, MAX_WAITING as u64 + 1].contains(&written), "{written}");
    }

    #[test]
    fn a_line_is_one_line_whatever_it_has() {
        let every: String = (0..0x3000).filter_map(char::from_u32).collect();
        let line = one_line(&every, false);
        assert_eq!(line.lines().count(), 1);
        let is_control = |character: char| character.is_control() && character != '\t';
        assert_eq!(line.strip_suffix('\n').unwrap().find(is_control), None);
        assert!(!line.contains(['\u{2028}', '\u{2029}']));
        assert_eq!(one_line("a\nb\r\u{0}\u{85}\u{2028}", false), "a\\nb\\r\\u0000\\u0085\\u2028\n");
        let long = one_line(&"x".repeat(2 * MAX_LINE_BYTES), false);
        assert!(long.ends_with("x...\n") && long.len() < MAX_LINE_BYTES + 10);
    }

    #[test]
    fn only_colours_pass_to_a_terminal() {
        let red = "\u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(one_line(red, true), format!("{red}\n"));
        assert_eq!(one_line(red, false), "\\u001b[1;31mred\\u001b[0m\n");
        for other in ["\u{1b}[2J", "\u{1b}]0;title\u{7}", "\u{1b}", "\u{1b}[", "\u{1b}[1"] {
            assert!(!one_line(other, true).contains('\u{1b}'), "{other:?}");
        }
    }
}
