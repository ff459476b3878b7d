//! Callers' own scripts: running one on a connection of its own, ending one that takes too long, and what the
//! server knows of scripts. `scripts` calls it.
//!
//! A script of a caller may run for seconds, so it does not share a connection with the batches of a worker. The
//! server runs one script at a time, so the runs of a process at one server take turns on one connection, and a kill
//! ends the run whose time is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::{
    sync::{Mutex, Semaphore, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{
    Completed, Context, Error, Failure, Library, Operation, RawReply, Redirect, Script, Store,
    connection::{Connection, RECHECK_PERIOD, is_error},
    invocation::EncodedInvocation,
    replicas::{counting_replicas, note_replicas},
    script::RunOutcome,
    topology::{MAX_HOPS, Node},
};
use crate::types::Id;

/// The most runs that run or wait for their turn.
const MAX_RUNNING: usize = 64;

/// The most times that a run is sent that has not happened, and the pause before it is sent again.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// The most keys that one command deletes.
const MAX_DELETED: usize = 500;

/// The longest wait for the reply to a run whose script was killed.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// A caller's own script in the form in which the server runs it. Cheap to clone.
#[derive(Clone)]
pub struct UserScript(Arc<Script>);

impl UserScript {
    /// The script of a source that compiles by itself; [`Store::run`] of `scripts/compile` finds that out. The
    /// server refuses one that is `read_only` every write.
    pub fn new(source: &str, read_only: bool) -> UserScript {
        UserScript(Arc::new(Script::of_user(source, read_only)))
    }

    pub(super) fn script(&self) -> &Arc<Script> {
        &self.0
    }

    /// The SHA-1 by which the server knows it.
    pub fn sha1(&self) -> &str {
        &self.0.sha1
    }
}

/// Why a run has no reply.
#[derive(Debug)]
pub enum RunError {
    /// The script refused, or the store failed.
    Store(Error),
    /// The script ran for too long.
    TimedOut(TimedOut),
}

impl RunError {
    /// The error of a run. Another client, or the timeout of another run, may have had the server kill it.
    fn of(error: Error) -> RunError {
        match &error {
            Error::Failed(failure) if was_killed(failure) => RunError::TimedOut(TimedOut::Killed),
            _ => RunError::Store(error),
        }
    }
}

/// True for the reply to a script that was killed, which has written nothing.
fn was_killed(failure: &Failure) -> bool {
    matches!(failure, Failure::Script(cause) if cause.contains("Script killed by user"))
}

/// The failure of a run that was sent several times, of which the last ended in `failure`. `lost` is true where the
/// reply to one of them was lost.
fn of_all_attempts(failure: Failure, read_only: bool, lost: bool, retry_safe: bool) -> Failure {
    if read_only {
        failure.without_effect()
    } else if lost && failure.says_nothing_of_before() {
        failure.as_unknown(retry_safe)
    } else {
        failure
    }
}

/// What became of a script that ran for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimedOut {
    /// It was killed and had written nothing.
    Killed,
    /// It runs on: it has written, so the server does not kill it.
    NotKillable,
    /// Nobody knows: the server said nothing in time.
    Unanswered,
}

/// The answer of the server to a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// The running script was ended. It had written nothing.
    Killed,
    /// No script is running.
    NotBusy,
    /// The running script has written.
    NotKillable,
}

/// The connection of callers' scripts, and whose turn it is.
pub(super) struct UserScripts {
    connection: Mutex<Option<(Connection, Instant)>>,
    /// Held by the run that may be sent. Those that wait get it in their order.
    turn: Mutex<()>,
    room: Arc<Semaphore>,
    /// Kills of runs whose time was over. One can come a moment late, and end the run after it.
    overdue_kills: AtomicU64,
}

impl Default for UserScripts {
    fn default() -> UserScripts {
        let room = Arc::new(Semaphore::new(MAX_RUNNING));
        UserScripts {
            connection: Mutex::default(),
            turn: Mutex::default(),
            room,
            overdue_kills: AtomicU64::default(),
        }
    }
}

impl Store {
    /// Runs a caller's own script as this operation, whose script is `scripts/run`. From its turn on it has
    /// `time_limit`; then it is killed. It goes on if the caller goes away.
    ///
    /// # Errors
    ///
    /// The refusal of the script, the failure of the store, or what became of one that took too long.
    pub async fn run_user_script<O: Operation + Send + 'static>(
        &self,
        script: &UserScript,
        operation: O,
        context: &Context,
        time_limit: Duration,
    ) -> Result<Completed<O::Reply>, RunError>
    where
        O::Reply: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let (store, script, context) = (self.clone(), script.clone(), context.clone());
        self.spawn(async move {
            let run = store.run_watched(&script, &operation, &context, time_limit);
            // The caller may have gone. The effect stays.
            let _ = sender.send(counting_replicas(run).await);
        });
        match receiver.await {
            Ok((result, replicas)) => {
                note_replicas(replicas);
                result
            }
            Err(_) => Err(RunError::Store(Failure::ShuttingDown.into())),
        }
    }

    /// Runs a script and watches its time.
    async fn run_watched<O: Operation>(
        &self,
        script: &UserScript,
        operation: &O,
        context: &Context,
        time_limit: Duration,
    ) -> Result<Completed<O::Reply>, RunError> {
        let node = self.0.topology.node_for(context.space.as_str());
        let scripts = &node.user_scripts;
        let turn = timeout(self.0.timeout, async {
            let room = scripts.room.acquire().await.ok()?;
            Some((room, scripts.turn.lock().await))
        });
        let Ok(Some(_turn)) = turn.await else {
            return Err(RunError::Store(Failure::Overloaded.into()));
        };
        let is_overdue = AtomicBool::new(false);
        let run = self.send_until_done(script, operation, context, &is_overdue);
        let mut run = std::pin::pin!(run);
        tokio::select! {
            biased;
            result = &mut run => return result.map_err(RunError::of),
            () = sleep(time_limit) => {}
        }
        is_overdue.store(true, Ordering::Relaxed);
        scripts.overdue_kills.fetch_add(1, Ordering::Relaxed);
        let mut kill = std::pin::pin!(self.kill_script_at(&node));
        let killed = tokio::select! {
            biased;
            result = &mut run => match result {
                Err(Error::Failed(Failure::Unknown { .. } | Failure::Script(_))) => None,
                result => return result.map_err(RunError::of),
            },
            killed = &mut kill => Some(killed),
        };
        let (killed, run_ended) = match killed {
            Some(killed) => (killed, false),
            None => (kill.await, true),
        };
        match killed {
            Ok(Kill::NotKillable) => Err(RunError::TimedOut(TimedOut::NotKillable)),
            Err(_) => Err(RunError::TimedOut(TimedOut::Unanswered)),
            Ok(Kill::Killed | Kill::NotBusy) if run_ended => {
                Err(RunError::TimedOut(TimedOut::Killed))
            }
            // It may have ended in this moment, by itself or by the kill.
            Ok(Kill::Killed | Kill::NotBusy) => match timeout(AFTER_KILL, run).await {
                Ok(result) => result.map_err(RunError::of),
                Err(_) => Err(RunError::TimedOut(TimedOut::Unanswered)),
            },
        }
    }

    /// Sends a run, and sends it again where it has certainly not happened or has no second effect. One that was
    /// killed in the place of another has written nothing, so it is sent again too, unless it `is_overdue` itself.
    async fn send_until_done<O: Operation>(
        &self,
        script: &UserScript,
        operation: &O,
        context: &Context,
        is_overdue: &AtomicBool,
    ) -> Result<Completed<O::Reply>, Error> {
        let started = Instant::now();
        let script = &script.0;
        let invocation = EncodedInvocation::of(operation, script, context);
        let retry_safe = script.header.read_only || !invocation.fingerprint.is_empty();
        let host_script = script.host_of(invocation.step);
        let (mut send_source, mut attempt, mut lost, mut hops) = (false, 1, false, 0);
        let failure = loop {
            let node = self.0.topology.node_for(context.space.as_str());
            let overdue_kills = || node.user_scripts.overdue_kills.load(Ordering::Relaxed);
            let kills_before = overdue_kills();
            let run =
                Run { script: &host_script, send_source, invocation: &invocation, retry_safe };
            let failure = match self.send_run(&node, &run).await {
                Ok(Value::Array(values)) if values.len() == 2 => {
                    let mut values = values.into_iter();
                    let replayed = values.next() == Some(Value::Int(1));
                    let reply = values.next().unwrap_or_default();
                    let script = Arc::clone(script);
                    return RawReply { script, reply, replayed, started: Some(started) }
                        .read::<O>();
                }
                Ok(Value::ServerError(error)) if error.code() == "NOSCRIPT" && !send_source => {
                    send_source = true;
                    continue;
                }
                Ok(Value::ServerError(error)) => Failure::from_server_error(&error),
                Ok(other) => Failure::UnexpectedReply(format!("{other:?}")),
                Err(failure) => failure,
            };
            if let Failure::Redirected(Redirect { ask: false, .. }) = failure
                && self.0.topology.may_be_cluster()
                && hops < MAX_HOPS
            {
                hops += 1;
                continue;
            }
            let is_lost = matches!(failure, Failure::Unknown { .. });
            let is_mistaken = was_killed(&failure)
                && overdue_kills() > kills_before
                && !is_overdue.load(Ordering::Relaxed);
            let again = failure.is_transient() || is_mistaken || is_lost && retry_safe;
            lost |= is_lost;
            if !again || attempt >= ATTEMPTS || started.elapsed() >= self.0.timeout {
                break failure;
            }
            attempt += 1;
            sleep(PAUSE * attempt).await;
        };
        script.record(RunOutcome::Failed, started.elapsed());
        failure.report_if_torn(&[O::NAME]);
        let failure = of_all_attempts(failure, script.header.read_only, lost, retry_safe);
        Err(self.explain(failure, &context.space).await.into())
    }

    /// Sends a run once to a node, and returns its reply when the replicas that it waits for have what it wrote.
    async fn send_run(&self, node: &Node, run: &Run<'_>) -> Result<Value, Failure> {
        let topology = &self.0.topology;
        let connected = self.script_connection(node).await;
        let mut connection = connected.inspect_err(|_| topology.request_refresh())?;
        if run.send_source {
            run.script.count_load();
        }
        let mut pipeline = Pipeline::with_capacity(1);
        let steps = [run.invocation].into_iter();
        self.0.runner_args.encode(&mut pipeline, run.script, run.send_source, steps);
        let generation = connection.generation();
        let wait = self.0.wait.filter(|_| !run.script.header.read_only);
        match connection.send_and_wait(&pipeline, self.0.timeout, wait).await {
            Ok((replies, durability)) => {
                let reply = replies.into_iter().next().unwrap_or_default();
                if let Value::ServerError(error) = &reply {
                    match Failure::from_server_error(error) {
                        Failure::Redirected(redirect) if !redirect.ask => {
                            topology.follow(&redirect, node.host_port.as_ref());
                        }
                        Failure::Redirected(_) | Failure::SlotUnavailable(_) => {
                            topology.request_refresh();
                        }
                        failure if failure.is_transient() => {
                            self.leave_script_connection(node, generation).await;
                        }
                        _ => {}
                    }
                }
                if durability.is_lost() {
                    self.leave_script_connection(node, generation).await;
                }
                if !is_error(&reply) {
                    note_replicas(durability.confirm(run.retry_safe)?);
                }
                Ok(reply)
            }
            Err(unanswered) => {
                self.leave_script_connection(node, generation).await;
                let end = pipeline.get_packed_pipeline().len() as u64;
                Err(unanswered.failure(end, run.retry_safe))
            }
        }
    }

    /// The connection of callers' scripts to a node; makes one where there is none that is alive and leads to the
    /// server of now.
    async fn script_connection(&self, node: &Node) -> Result<Connection, Failure> {
        let mut shared = node.user_scripts.connection.lock().await;
        if let Some((connection, last_used)) = shared.as_mut()
            && connection.generation() == node.route.generation()
        {
            let is_idle = last_used.elapsed() >= RECHECK_PERIOD;
            let mut ping = Pipeline::new();
            ping.cmd("PING").ignore_errors();
            let limit = RECHECK_PERIOD.min(self.0.timeout / 2);
            if !is_idle || connection.send(&ping, limit).await.is_ok() {
                *last_used = Instant::now();
                return Ok(connection.clone());
            }
        }
        let fresh = node.route.connect_for_calls().await?;
        metrics::counter!("lockstep_store_connections_total").increment(1);
        *shared = Some((fresh.clone(), Instant::now()));
        Ok(fresh)
    }

    /// Leaves the server of a connection, where another may serve.
    async fn leave_script_connection(&self, node: &Node, generation: u64) {
        self.0.topology.leave(node, generation);
        let mut shared = node.user_scripts.connection.lock().await;
        drop(shared.take_if(|(connection, _)| connection.generation() == generation));
    }

    /// Ends the scripts that the servers are running, if they have written nothing. A server takes a kill only after
    /// its `busy-reply-threshold`, so this waits for it, two store timeouts at most. Of several masters the answer is
    /// that of one whose script was killed, or else of one whose script cannot be.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply, where no server has answered.
    pub async fn kill_script(&self) -> Result<Kill, Failure> {
        let kill = |node: Arc<Node>| async move { self.kill_script_at(&node).await };
        let kills = self.on_every_node(kill).await?;
        let is = |kill| kills.contains(&kill).then_some(kill);
        Ok(is(Kill::Killed).or(is(Kill::NotKillable)).unwrap_or(Kill::NotBusy))
    }

    async fn kill_script_at(&self, node: &Node) -> Result<Kill, Failure> {
        let deadline = Instant::now() + 2 * self.0.timeout;
        loop {
            let mut kill = redis::cmd("SCRIPT");
            kill.arg("KILL");
            let failure = match self.ask(node, &kill).await {
                Ok(Value::ServerError(error)) => match error.code() {
                    "NOTBUSY" => return Ok(Kill::NotBusy),
                    "UNKILLABLE" => return Ok(Kill::NotKillable),
                    _ => return Err(Failure::from_server_error(&error).without_effect()),
                },
                Ok(_) => return Ok(Kill::Killed),
                Err(failure) => failure,
            };
            if Instant::now() >= deadline {
                return Err(failure);
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks every master, all at the same time.
    ///
    /// # Errors
    ///
    /// The failure of one of them, where none has answered.
    pub(super) async fn on_every_node<T, F>(
        &self,
        ask: impl Fn(Arc<Node>) -> F,
    ) -> Result<Vec<T>, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let map = self.0.topology.map();
        let asked = join_all(map.nodes.iter().cloned().map(ask)).await;
        let (answers, failures): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        match failures.into_iter().find_map(Result::err) {
            Some(failure) if answers.is_empty() => Err(failure),
            _ => Ok(answers.into_iter().filter_map(Result::ok).collect()),
        }
    }

    /// Sends one command on a new connection that nothing else uses.
    async fn ask(&self, node: &Node, command: &Cmd) -> Result<Value, Failure> {
        let mut connection = node.route.connect().await?;
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone()).ignore_errors();
        let sent = connection.send(&pipeline, self.0.timeout).await;
        let replies = sent.map_err(|unanswered| Failure::Unavailable(unanswered.cause))?;
        Ok(replies.into_iter().next().unwrap_or_default())
    }

    /// Has every server compile a script and keep it, so that the first run finds it.
    ///
    /// # Errors
    ///
    /// The reason why it did not; the first run sends the source then.
    pub async fn load_script(&self, script: &UserScript) -> Result<(), Failure> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&script.0.source);
        let load = &load;
        let ask = |node: Arc<Node>| async move { fail_on_error(self.ask(&node, load).await?) };
        self.on_every_node(ask).await.map(drop)
    }

    /// Has every server forget all scripts, and then keep those of the service again. Returns their number.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply. Scripts that are forgotten are loaded by their next run.
    pub async fn flush_scripts(&self) -> Result<usize, Failure> {
        let flush = |node: Arc<Node>| async move { self.flush_scripts_at(&node).await };
        let counts = self.on_every_node(flush).await?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }

    async fn flush_scripts_at(&self, node: &Node) -> Result<usize, Failure> {
        let mut flush = redis::cmd("SCRIPT");
        flush.arg("FLUSH");
        fail_on_error(self.ask(node, &flush).await?)?;
        let mut pipeline = Pipeline::new();
        for script in Library::embedded().iter() {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(&script.source);
        }
        pipeline.ignore_errors();
        let count = pipeline.len();
        let mut connection = node.route.connect().await?;
        let sent = connection.send(&pipeline, self.0.timeout).await;
        let replies = sent.map_err(|unanswered| Failure::Unavailable(unanswered.cause))?;
        replies.into_iter().try_for_each(|reply| fail_on_error(reply).map(drop))?;
        Ok(count)
    }

    /// The runs of scripts that the servers have counted since they began to count.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn run_counts(&self) -> Result<RunCounts, Failure> {
        let mut info = redis::cmd("INFO");
        info.arg("commandstats");
        let info = &info;
        let counts = self.on_every_node(|node| async move {
            match fail_on_error(self.ask(&node, info).await?)? {
                Value::BulkString(text) => Ok(run_counts(&String::from_utf8_lossy(&text))),
                other => Err(Failure::Unavailable(format!("unexpected reply: {other:?}"))),
            }
        });
        let add = |sum: RunCounts, one: RunCounts| RunCounts {
            calls: sum.calls + one.calls,
            usec: sum.usec + one.usec,
        };
        Ok(counts.await?.into_iter().fold(RunCounts::default(), add))
    }

    /// Deletes data keys of a space by their whole names.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn delete_data_keys(&self, names: &[String], space: &Id) -> Result<(), Failure> {
        let node = self.0.topology.node_for(space.as_str());
        for names in names.chunks(MAX_DELETED) {
            let mut delete = redis::cmd("DEL");
            delete.arg(names);
            fail_on_error(self.ask(&node, &delete).await?)?;
        }
        Ok(())
    }

    /// Finds out which of these scripts, by their SHA-1, every server has that answers.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn loaded_scripts(&self, sha1s: &[&str]) -> Result<Vec<bool>, Failure> {
        let mut exists = redis::cmd("SCRIPT");
        exists.arg("EXISTS").arg(sha1s);
        let exists = &exists;
        let found = self.on_every_node(|node| async move {
            match fail_on_error(self.ask(&node, exists).await?)? {
                Value::Array(found) => Ok(found),
                other => Err(Failure::Unavailable(format!("unexpected reply: {other:?}"))),
            }
        });
        let found = found.await?;
        let is_at = |place| found.iter().all(|found| found.get(place) == Some(&Value::Int(1)));
        Ok((0..sha1s.len()).map(is_at).collect())
    }
}

/// One run of a script, as it is sent.
struct Run<'a> {
    script: &'a Script,
    send_source: bool,
    invocation: &'a EncodedInvocation,
    retry_safe: bool,
}

/// The runs of scripts that a server has counted, of all its clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunCounts {
    /// Number of runs.
    pub calls: u64,
    /// Microseconds that they took in all.
    pub usec: u64,
}

/// Adds up the lines `cmdstat_evalsha:calls=3,usec=120,...` and `cmdstat_evalsha_ro:...`.
fn run_counts(info: &str) -> RunCounts {
    let mut counts = RunCounts::default();
    for line in info.lines() {
        let Some((name, fields)) = line.trim().split_once(':') else { continue };
        if !["cmdstat_evalsha", "cmdstat_evalsha_ro"].contains(&name) {
            continue;
        }
        let field = |name: &str| {
            let value = fields.split(',').find_map(|field| field.strip_prefix(name));
            value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
        };
        counts.calls += field("calls=");
        counts.usec += field("usec=");
    }
    counts
}

/// The failure that an error reply stands for, of a command without an effect on data; every other reply as it is.
fn fail_on_error(reply: Value) -> Result<Value, Failure> {
    match reply {
        Value::ServerError(error) => Err(Failure::from_server_error(&error).without_effect()),
        reply => Ok(reply),
    }
}
