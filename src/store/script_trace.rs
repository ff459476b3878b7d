//! Traces of callers' own scripts: the server's debugger, stepped to the end by the service. `scripts` calls it.
//!
//! The debugger forks the server, and the copy runs the script and is thrown away: nothing that it writes is kept.
//! It stops before each line and tells which it is, and after a command it tells the command and its reply.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Context, Failure, Operation, ScriptValue, Store, UserScript, connection::RawConnection,
    invocation::EncodedInvocation,
};

/// The longest that a trace may take.
const MAX_TRACE: Duration = Duration::from_secs(10);

/// The longest that a trace may take to end after nobody needs it any more.
const MAX_ENDING: Duration = Duration::from_secs(10);

/// The most lines that the debugger is stepped through for one line of the caller's source: the service's own lines
/// around a command are among them.
const STEPS_OF_A_LINE: usize = 60;

/// The steps before the first line of the caller's source, at most.
const STEPS_BEFORE: usize = 2000;

/// The most traces of a process at a time. Each is a copy of the server.
pub(super) const MAX_TRACES: usize = 1;

/// A line of a source that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// Number of the line in the script of the server.
    pub line: usize,
    /// The commands that it ran, each with the reply as the debugger writes it.
    pub commands: Vec<(String, String)>,
}

/// A script that was traced.
#[derive(Debug)]
pub struct ScriptTrace {
    /// The lines that ran, in their order.
    pub steps: Vec<TraceStep>,
    /// The reply of the script's step of the runner; `None` where the trace ended before the script.
    pub reply: Option<ScriptValue>,
}

/// Why there is no trace.
#[derive(Debug)]
pub enum TraceError {
    /// The server has no debugger for this service, for the reason that it gives.
    Unavailable(String),
    /// The store failed.
    Failed(Failure),
}

/// A connection to the debugger, and the place that the trace takes. A copy of the server that loses its connection runs
/// the script on, for ever if it has no end; so the end of a trace aborts the script, also where the caller has gone.
struct Debugger {
    connection: Option<RawConnection>,
    place: Option<OwnedSemaphorePermit>,
}

impl Debugger {
    /// Ends the script and its copy of the server.
    async fn end(mut self) {
        if let Some(connection) = &mut self.connection {
            let _ = timeout(MAX_ENDING, abort(connection)).await;
        }
        self.connection = None;
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        let (Some(mut connection), place) = (self.connection.take(), self.place.take()) else {
            return;
        };
        tokio::spawn(async move {
            let _ = timeout(MAX_ENDING, abort(&mut connection)).await;
            drop(place);
        });
    }
}

/// Aborts the script, and returns when it has ended. The debugger forgets what it received together with the command
/// before it, and a script can catch the error that aborts it; so each reply of the debugger is answered by one more
/// `abort`. All its replies are lists: another reply is that of a script that has ended, or of a server that runs none.
async fn abort(connection: &mut RawConnection) -> io::Result<()> {
    loop {
        connection.send(&["abort"]).await?;
        if !matches!(connection.reply().await?, ScriptValue::Array(_)) {
            return Ok(());
        }
    }
}

impl Store {
    /// Traces a run of a script whose lines are the second to `last_line` in the script of the server. It ends after
    /// `max_steps` lines.
    ///
    /// # Errors
    ///
    /// The reason why there is no trace.
    pub async fn trace_user_script<O: Operation>(
        &self,
        script: &UserScript,
        operation: &O,
        context: &Context,
        last_line: usize,
        max_steps: usize,
    ) -> Result<ScriptTrace, TraceError> {
        let Ok(place) = Arc::clone(&self.0.traces).try_acquire_owned() else {
            return Err(TraceError::Failed(Failure::Overloaded));
        };
        let node = self.0.topology.node_for(context.space.as_str());
        if node.route.encrypts() {
            // The server ends the encryption when it forks, and the copy has the same connection.
            let cause = "the server's debugger does not work over TLS".to_owned();
            return Err(TraceError::Unavailable(cause));
        }
        let connection = node.route.connect_raw().await.map_err(TraceError::Failed)?;
        let mut debugger = Debugger { connection: Some(connection), place: Some(place) };
        let Some(connection) = &mut debugger.connection else {
            return Err(TraceError::Failed(Failure::ShuttingDown));
        };
        let unavailable = |error: io::Error| TraceError::Unavailable(error.to_string());
        let info = connection.ask(&["INFO", "server"]).await.map_err(unavailable)?;
        if stops_other_scripts(&info) {
            let cause = "the debugger of Valkey 9 stops the scripts of all callers".to_owned();
            return Err(TraceError::Unavailable(cause));
        }
        connection.ask(&["SCRIPT", "DEBUG", "YES"]).await.map_err(unavailable)?;
        let invocation = EncodedInvocation::of(operation, script.script(), context);
        let words = self.0.runner_args.words(script.script(), &invocation);
        let tracing = async {
            connection.send(&words).await?;
            follow(connection, last_line, max_steps).await
        };
        let lost = |cause: String| TraceError::Failed(Failure::Unavailable(cause));
        let traced = timeout(MAX_TRACE, tracing).await;
        debugger.end().await;
        match traced {
            Ok(Ok(trace)) => Ok(trace),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(lost("the trace took too long".to_owned())),
        }
    }
}

/// True if the debugger is not that of one connection. From Valkey 9 on, the next script of any connection is debugged
/// instead, and in no copy: the server stops in the middle of somebody else's call, which may fail half done.
fn stops_other_scripts(info: &ScriptValue) -> bool {
    let ScriptValue::Bytes(text) = info else { return false };
    let text = String::from_utf8_lossy(text);
    let version = text.lines().find_map(|line| line.strip_prefix("valkey_version:"));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 9)
}

/// Steps through a script, and collects the lines of the caller's source.
async fn follow(
    connection: &mut RawConnection,
    last_line: usize,
    max_steps: usize,
) -> io::Result<ScriptTrace> {
    let mut trace = ScriptTrace { steps: Vec::new(), reply: None };
    let mut command = None;
    for _ in 0..STEPS_BEFORE + max_steps.saturating_mul(STEPS_OF_A_LINE) {
        let lines = match connection.reply().await? {
            ScriptValue::Array(lines) => lines,
            // A script that was refused never began.
            other => return Ok(ScriptTrace { reply: Some(other), ..trace }),
        };
        for line in lines {
            let ScriptValue::Status(line) = line else { continue };
            if line == "<endsession>" {
                trace.reply = Some(connection.reply().await?);
                return Ok(trace);
            }
            // Redis and Valkey have different words for it.
            let ran = line.strip_prefix("<redis> ").or(line.strip_prefix("<command> "));
            if let Some(text) = ran {
                command = Some(text.to_owned());
            } else if let Some(reply) = line.strip_prefix("<reply> ") {
                if let (Some(step), Some(command)) = (trace.steps.last_mut(), command.take()) {
                    step.commands.push((command, reply.to_owned()));
                }
            } else if let Some(line) = stopped_at(&line)
                && (2..=last_line).contains(&line)
            {
                if trace.steps.len() >= max_steps {
                    return Ok(trace);
                }
                trace.steps.push(TraceStep { line, commands: Vec::new() });
            }
        }
        connection.send(&["s"]).await?;
    }
    Ok(trace)
}

/// The line at which the debugger says that it stopped: `* Stopped at 3, stop reason = step over`.
fn stopped_at(line: &str) -> Option<usize> {
    line.strip_prefix("* Stopped at ")?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_servers_whose_debugger_stops_other_scripts() {
        for (fields, stops) in [
            ("redis_version:7.0.15\r\n", false),
            ("redis_version:7.2.4\r\nvalkey_version:8.1.3\r\n", false),
            ("redis_version:7.2.4\r\nvalkey_version:9.0.0\r\n", true),
            ("redis_version:7.2.4\r\nvalkey_version:10.1.0\r\n", true),
        ] {
            let info = ScriptValue::Bytes(format!("# Server\r\n{fields}").into());
            assert_eq!(stops_other_scripts(&info), stops, "{fields}");
        }
    }

    #[test]
    fn reads_where_the_debugger_stopped() {
        assert_eq!(stopped_at("* Stopped at 12, stop reason = step over"), Some(12));
        assert_eq!(stopped_at("-> 12   return 1"), None);
    }
}
