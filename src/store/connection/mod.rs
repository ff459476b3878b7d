//! Connections to the server: how they are made, when they are left, and what was sent on them.
//!
//! `route` knows where the server is and makes connections of every kind: `address` reads the URL, `entry` what lets
//! the service in, and `sentinel` asks for the primary of a group. `pool` keeps idle connections, `raw` is one without a
//! driver, `stream` counts what was written, and `wait` has replicas confirm it. The batcher, `transaction`, `admin` and `notifications` use them;
//! nothing else connects to Redis.

mod address;
mod entry;
mod pool;
mod raw;
mod route;
mod sentinel;
mod stream;
mod wait;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{
    Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

pub use address::HostPort;
pub(super) use pool::{Pool, PooledConnection, checkout, pool};
pub(super) use raw::RawConnection;
pub(super) use route::Route;
pub(super) use wait::{Durability, Wait};

use super::{Failure, activity::ConnectionActivity};
use stream::Written;

/// The time for which a connection is believed to be alive, and its server to be no replica. After it,
/// the next use of the connection finds out.
pub(super) const RECHECK_PERIOD: Duration = Duration::from_secs(1);

/// A connection to the server. Commands are pipelined on it; clones share it, and it is closed when the
/// last one is dropped.
#[derive(Clone)]
pub(super) struct Connection {
    multiplexed: MultiplexedConnection,
    written: Written,
    /// The generation of the route in which it was made.
    generation: u64,
    /// The last time that the server said it is no replica.
    role_checked: Instant,
    activity: Arc<ConnectionActivity>,
    _driver: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Sends a pipeline and returns the reply of each command, in `time_limit`. Sends nothing before it
    /// is first polled.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] when not every reply came; the connection is then of no use any more.
    pub async fn send(
        &mut self,
        pipeline: &Pipeline,
        time_limit: Duration,
    ) -> Result<Vec<Value>, Unanswered> {
        let (count, before) = (pipeline.len(), self.written.bytes());
        let started = Instant::now();
        let replies = self.multiplexed.send_packed_commands(pipeline, 0, count);
        let cause = match timeout(time_limit, replies).await {
            Ok(Ok(replies)) if replies.len() == count => {
                let errors = replies.iter().filter(|reply| is_error(reply)).count();
                self.activity.count_commands(count, errors, started.elapsed());
                return Ok(replies);
            }
            Ok(Ok(_)) => "replies are missing".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no reply within {} ms", time_limit.as_millis()),
        };
        self.activity.count_commands(count, 1, started.elapsed());
        Err(Unanswered { cause, sent_bytes: self.written.seal() - before })
    }

    /// Counts into the activity of its user from now on.
    pub fn count_into(&mut self, activity: &Arc<ConnectionActivity>) {
        self.activity = Arc::clone(activity);
    }

    /// The generation of the route in which it was made.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// True if nobody has asked for the role of the server within the last second.
    pub fn needs_role_check(&self) -> bool {
        self.role_checked.elapsed() >= RECHECK_PERIOD
    }

    /// Records that the server is no replica.
    pub fn role_is_checked(&mut self) {
        self.role_checked = Instant::now();
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let started = Instant::now();
            let reply = self.multiplexed.req_packed_command(command).await;
            self.activity.count_commands(1, usize::from(reply.is_err()), started.elapsed());
            reply
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let started = Instant::now();
            let replies = self.multiplexed.req_packed_commands(pipeline, offset, count).await;
            self.activity.count_commands(count, usize::from(replies.is_err()), started.elapsed());
            replies
        })
    }

    fn get_db(&self) -> i64 {
        self.multiplexed.get_db()
    }
}

/// True for an error reply.
pub(super) fn is_error(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(_))
}

/// The loss of the replies to a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Unanswered {
    pub cause: String,
    /// The most bytes of the pipeline that the socket has taken. They may be fewer, because what was
    /// sent before it on the same connection is counted too where it was still on its way.
    pub sent_bytes: u64,
}

impl Unanswered {
    /// The failure of a command that ends at byte `end` of its pipeline. Unless all of it was written,
    /// the server cannot have run it.
    pub fn failure(&self, end: u64, retry_safe: bool) -> Failure {
        let Unanswered { cause, sent_bytes } = self;
        if *sent_bytes < end {
            return Failure::Unavailable(format!("{cause}, and the call was not sent"));
        }
        Failure::Unknown { cause: cause.clone(), retry_safe }
    }
}

/// The command that asks a server for its role. ROLE would be shorter, and a right that the documented
/// user does not have.
pub(super) fn ask_role(pipeline: &mut Pipeline) {
    pipeline.cmd("INFO").arg("replication");
}

/// True if a server has answered [`ask_role`] by saying that it is a replica. A server that does not
/// tell is taken for none: a write will tell.
pub(super) fn is_replica(reply: &Value) -> bool {
    info_text(reply).is_some_and(says_replica)
}

/// The text of a reply to INFO.
fn info_text(reply: &Value) -> Option<&[u8]> {
    match reply {
        Value::BulkString(bytes) => Some(bytes),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// True if the text of INFO says that the server is a replica.
fn says_replica(info: &[u8]) -> bool {
    info.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == b"role:slave")
}

/// The failure of a call whose server is a replica.
pub(super) fn replica() -> Failure {
    Failure::ReadOnly("the server is a replica".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_says_so_is_a_replica() {
        let info = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert!(is_replica(&info("# Replication\r\nrole:slave\r\nmaster_host:x\r\n")));
        for other in ["# Replication\r\nrole:master\r\nconnected_slaves:0\r\n", "", "xrole:slave\n"]
        {
            assert!(!is_replica(&info(other)), "{other}");
        }
        assert!(!is_replica(&Value::Nil));
    }

    #[test]
    fn a_command_that_was_not_written_to_its_end_has_not_run() {
        let unanswered = Unanswered { cause: "lost".to_owned(), sent_bytes: 10 };
        assert!(unanswered.failure(10, false).may_have_written());
        let failure = unanswered.failure(11, false);
        assert!(!failure.may_have_written() && failure.is_transient());
    }
}
