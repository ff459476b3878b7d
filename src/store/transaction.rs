//! Transactions by WATCH: read data keys, then run one script by MULTI and EXEC if none of them has
//! changed. `transactions` calls it.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep};

use super::{
    Completed, Context, Error, Failure, Library, Operation, RawReply, Redirect, Store,
    connection::{Durability, PooledConnection, Wait, checkout},
    invocation::{EncodedInvocation, data_prefix},
    replicas::note_replicas,
    topology::{MAX_HOPS, Node},
};
use crate::types::Id;

/// The most times that keys are watched whose slot no node serves, and the pause before the first repeat. The pause
/// grows with each.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// A WATCH on a connection of its own. The connection goes back to the pool only after EXEC has ended the
/// WATCH. Dropped before that, as when the caller goes away, it is closed.
pub struct Watch {
    connection: Option<PooledConnection>,
    node: Arc<Node>,
    started: Instant,
    store: Store,
}

/// The outcome of an EXEC.
#[derive(Debug)]
pub enum ExecOutcome<T> {
    /// The script ran.
    Completed(T),
    /// A watched key has changed, and nothing ran.
    Conflict,
    /// The server does not know the script, and nothing ran.
    ScriptNotLoaded,
    /// The slot of the keys has moved to another node, and nothing ran.
    SlotMoved,
}

/// The value of a watched data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedValue {
    /// The answer of TYPE; `none` where the key does not exist.
    pub kind: String,
    /// The bytes of a string, cut at the length that was asked for.
    pub text: Option<Vec<u8>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(PooledConnection::take(connection));
        }
    }
}

impl Store {
    /// Watches data keys and reads their values, of strings at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply. Nothing has happened.
    pub async fn watch(
        &self,
        keys: &[Id],
        max_bytes: usize,
        context: &Context,
    ) -> Result<(Watch, Vec<WatchedValue>), Failure> {
        let started = Instant::now();
        let (mut hops, mut attempt) = (0, 1);
        loop {
            let node = self.0.topology.node_for(context.space.as_str());
            let failure = match self.watch_at(node, keys, max_bytes, context).await {
                Ok(watching) => return Ok(watching),
                Err(failure) => failure,
            };
            let is_over = started.elapsed() >= self.0.timeout;
            if is_over || !self.0.topology.may_be_cluster() {
                return Err(failure);
            }
            match &failure {
                Failure::Redirected(Redirect { ask: false, .. }) if hops < MAX_HOPS => hops += 1,
                Failure::Redirected(_) | Failure::SlotUnavailable(_) if attempt < ATTEMPTS => {
                    (hops, attempt) = (0, attempt + 1);
                    sleep(PAUSE * attempt).await;
                }
                _ => return Err(failure),
            }
        }
    }

    async fn watch_at(
        &self,
        node: Arc<Node>,
        keys: &[Id],
        max_bytes: usize,
        context: &Context,
    ) -> Result<(Watch, Vec<WatchedValue>), Failure> {
        let started = Instant::now();
        let connection = checkout(&node.transaction_pool, self.0.timeout).await?;
        let generation = connection.generation();
        let connection = Some(connection);
        let mut watch = Watch { connection, node, started, store: self.clone() };
        let prefix = data_prefix(&format!("lockstep:{{{}}}:", context.space));
        let names: Vec<String> = keys.iter().map(|key| format!("{prefix}{key}")).collect();
        let mut pipeline = Pipeline::with_capacity(1 + 2 * keys.len());
        pipeline.cmd("WATCH").arg(&names);
        for name in &names {
            pipeline.cmd("TYPE").arg(name);
            pipeline.cmd("GETRANGE").arg(name).arg(0).arg(max_bytes.saturating_sub(1));
        }
        // MULTI comes with the reads: were it refused beside the script, the script would run at once.
        pipeline.cmd("MULTI");
        match watch.read(pipeline).await.map_err(Failure::without_effect) {
            Ok(values) => Ok((watch, values)),
            Err(failure) => {
                self.after_failure(&failure, &watch.node, generation);
                Err(failure)
            }
        }
    }

    /// Looks for another server, where a transaction failed because of the one that a connection leads to: notes the
    /// new owner of its slot, or leaves the server.
    fn after_failure(&self, failure: &Failure, node: &Node, generation: u64) {
        let topology = &self.0.topology;
        match failure {
            Failure::Redirected(redirect) if !redirect.ask => {
                topology.follow(redirect, node.host_port.as_ref());
            }
            Failure::Redirected(_) | Failure::SlotUnavailable(_) => topology.request_refresh(),
            failure if failure.is_transient() || matches!(failure, Failure::Unknown { .. }) => {
                topology.leave(node, generation);
            }
            _ => {}
        }
    }
}

impl Watch {
    async fn read(&mut self, pipeline: Pipeline) -> Result<Vec<WatchedValue>, Failure> {
        let left = self.store.0.timeout.saturating_sub(self.started.elapsed());
        let (replies, _) = self.send(pipeline, left, None, false).await?;
        let mut replies = replies.into_iter();
        fail_on_error(replies.next())?;
        fail_on_error(replies.next_back())?;
        let mut values = Vec::with_capacity(replies.len() / 2);
        while let (Some(kind), Some(text)) = (replies.next(), replies.next()) {
            let Value::SimpleString(kind) = kind else {
                fail_on_error(Some(kind))?;
                return Err(unexpected_reply());
            };
            let text = match (kind.as_str(), text) {
                ("string", Value::BulkString(text)) => Some(text),
                ("string", other) => {
                    fail_on_error(Some(other))?;
                    return Err(unexpected_reply());
                }
                // GETRANGE fails on a key of another type; TYPE has said so already.
                _ => None,
            };
            values.push(WatchedValue { kind, text });
        }
        Ok(values)
    }

    /// Runs an operation by EXEC. `send_source` sends the script's source instead of its SHA-1.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or the failure that took the place of a reply.
    pub async fn commit<O: Operation>(
        self,
        operation: &O,
        send_source: bool,
        context: &Context,
    ) -> Result<ExecOutcome<Completed<O::Reply>>, Error> {
        let (store, node) = (self.store.clone(), Arc::clone(&self.node));
        let generation = self.connection.as_ref().map(|connection| connection.generation());
        match self.execute(operation, send_source, context).await {
            Err(Error::Failed(failure)) => {
                if let Some(generation) = generation {
                    store.after_failure(&failure, &node, generation);
                }
                match failure {
                    // A slot that moves ends the WATCH, and the keys are watched again at its new owner.
                    Failure::Redirected(redirect)
                        if !redirect.ask && store.0.topology.may_be_cluster() =>
                    {
                        Ok(ExecOutcome::SlotMoved)
                    }
                    failure => Err(store.explain(failure, &context.space).await.into()),
                }
            }
            result => result,
        }
    }

    async fn execute<O: Operation>(
        mut self,
        operation: &O,
        send_source: bool,
        context: &Context,
    ) -> Result<ExecOutcome<Completed<O::Reply>>, Error> {
        let script = Library::embedded().script(O::NAME);
        let invocation = EncodedInvocation::of(operation, &script, context);
        let retry_safe = !invocation.fingerprint.is_empty();
        let mut pipeline = Pipeline::with_capacity(2);
        let steps = [&invocation].into_iter();
        let host_script = script.host_of(invocation.step);
        if send_source {
            host_script.count_load();
        }
        self.store.0.runner_args.encode(&mut pipeline, &host_script, send_source, steps);
        pipeline.cmd("EXEC");
        let wait = self.store.0.wait;
        let (replies, durability) =
            self.send(pipeline, self.store.0.timeout, wait, retry_safe).await?;
        let mut replies = replies.into_iter();
        let (Some(queued), Some(executed)) = (replies.next(), replies.next()) else {
            return Err(unexpected_reply().into());
        };
        let executed = match executed {
            Value::Array(values) => {
                self.check_in();
                values.into_iter().next()
            }
            Value::Nil => {
                self.check_in();
                return Ok(ExecOutcome::Conflict);
            }
            error => {
                // EXEC says only that it was discarded. The reason was told when the script was queued. The
                // connection is closed, because an EXEC that the user may not run ends nothing.
                fail_on_error(Some(queued)).map_err(Failure::without_effect)?;
                Some(error)
            }
        };
        match executed {
            Some(Value::ServerError(error)) if error.code() == "NOSCRIPT" => {
                Ok(ExecOutcome::ScriptNotLoaded)
            }
            Some(Value::Array(values)) if values.len() == 2 => {
                note_replicas(durability.confirm(retry_safe)?);
                let mut values = values.into_iter();
                let replayed = values.next() == Some(Value::Int(1));
                let reply = values.next().unwrap_or_default();
                let raw = RawReply { script, reply, replayed, started: Some(self.started) };
                raw.read::<O>().map(ExecOutcome::Completed)
            }
            other => {
                let failure = fail_on_error(other).err().unwrap_or_else(unexpected_reply);
                failure.report_if_torn(&[O::NAME]);
                Err(failure.into())
            }
        }
    }

    /// Sends a pipeline, and returns its replies within `time_limit`, with what is known of the replicas that have
    /// what it wrote. Where EXEC was not written whole, the call has not run.
    async fn send(
        &mut self,
        mut pipeline: Pipeline,
        time_limit: Duration,
        wait: Option<Wait>,
        retry_safe: bool,
    ) -> Result<(Vec<Value>, Durability), Failure> {
        pipeline.ignore_errors();
        let Some(connection) = &mut self.connection else { return Err(unexpected_reply()) };
        connection.send_and_wait(&pipeline, time_limit, wait).await.map_err(|unanswered| {
            let end = pipeline.get_packed_pipeline().len() as u64;
            unanswered.failure(end, retry_safe)
        })
    }

    /// Gives the connection back to its pool. No WATCH is left on it.
    fn check_in(&mut self) {
        drop(self.connection.take());
    }
}

/// Returns the failure that an error reply stands for, and nothing for every other reply.
fn fail_on_error(reply: Option<Value>) -> Result<(), Failure> {
    let Some(Value::ServerError(error)) = reply else { return Ok(()) };
    let details = error.details().unwrap_or_default();
    // EXECABORT carries the code of the reason in its text: nothing ran.
    match details.split_once("because of: ") {
        Some((_, reason)) => {
            let (code, details) = reason.split_once(' ').unwrap_or((reason, ""));
            Err(Failure::from_error_reply(code, details))
        }
        None => Err(Failure::from_server_error(&error)),
    }
}

fn unexpected_reply() -> Failure {
    Failure::UnexpectedReply("the reply to a transaction has no known shape".to_owned())
}
