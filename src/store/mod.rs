//! The only code that knows Redis: one pool, one library of scripts, one way to run them.

mod embedded;
mod failure;
mod header;
mod lane;
mod library;
mod operation;
mod reply;
mod turns;
mod watch;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_redis::{Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use embedded::{Embedded, StartError};
pub use failure::Failure;
pub use header::{Field, Header, Kind, Names};
pub use library::{Library, Script};
pub use operation::{
    Completed, Context, ErasedOperation, Error, GeneratedId, Invocation, Operation, Refusal,
};
pub use reply::{RawReply, RedisValue};
pub use watch::{ExecOutcome, Watch, WatchedValue};

use crate::types::Id;
use lane::{Frame, Lane, Step};
use operation::{All, EncodedInvocation};
use turns::{Turn, Turns};

/// How to reach Redis and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `redis://host:port/db` or `unix:///path`.
    pub url: String,
    /// How many shared connections carry scripts.
    pub lanes: usize,
    /// How many connections carry transactions by WATCH, one each.
    pub transactions: usize,
    /// How many calls may wait in all before the next is refused as `overloaded`.
    pub queue: usize,
    /// How long a call may wait to be sent, and then for its answer.
    pub timeout: Duration,
    /// What is kept of what was done.
    pub records: Retention,
}

/// What is kept of what was done, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// How long a command is remembered under its idempotency key, in milliseconds.
    pub once_ttl_ms: u64,
    /// How long a transaction can be found by its id and reversed, in milliseconds.
    pub transaction_ttl_ms: u64,
    /// How many of an account's newest transactions are kept at least.
    pub history: u64,
}

/// How many keys one page of a scan looks at; it takes well under a millisecond.
const SCAN_PAGE: u32 = 1000;

/// Runs operations. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pool: Pool,
    /// Those that one caller at a time has for a transaction.
    exclusive: Pool,
    lanes: Vec<mpsc::Sender<Step>>,
    next: AtomicUsize,
    turns: Turns,
    timeout: Duration,
    frame: Frame,
    closing: CancellationToken,
    running: Mutex<Vec<JoinHandle<()>>>,
}

/// Operations that run in the order in which they are begun, many in one script.
pub struct OrderedQueue {
    store: Store,
    lane: usize,
}

impl OrderedQueue {
    /// Waits until there is room for an operation in the lane.
    pub async fn submit(&self, operation: &dyn ErasedOperation, context: &Context) -> PendingReply {
        let library = Library::embedded();
        let script = library.script(operation.name());
        let bound = EncodedInvocation::of(operation, &script, context);
        let carrier = library.script(All::NAME);
        let (step, mut begun) = self.store.step(&script, &carrier, bound, &context.space);
        if self.store.0.lanes[self.lane].send(step).await.is_err() {
            begun.answered = Err(Failure::ShuttingDown);
        }
        begun
    }
}

/// An operation on its way.
pub struct PendingReply {
    answered: Result<oneshot::Receiver<Result<lane::Answer, Failure>>, Failure>,
    started: Instant,
}

impl PendingReply {
    async fn answered(self) -> Result<lane::Answer, Failure> {
        self.answered?.await.unwrap_or(Err(Failure::ShuttingDown))
    }
}

/// How far the scripts' clock runs ahead of Redis' own: nothing, except where a test wants an
/// expiry without waiting for it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// Moves on by so many milliseconds.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// How far it is ahead by now.
    pub fn ahead_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Store {
    /// Opens a store; connections are made when they are needed. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// When the URL is not one of Redis.
    pub fn open(settings: &Settings) -> redis::RedisResult<Store> {
        let info = settings.url.as_str().into_connection_info()?;
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = info.set_tcp_settings(tcp);
        let pool = |size: usize| -> redis::RedisResult<Pool> {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(settings.timeout))
                .set_response_timeout(Some(settings.timeout));
            Pool::builder(Manager::new_with_config(info.clone(), config)?)
                .max_size(size)
                .wait_timeout(Some(settings.timeout))
                .create_timeout(Some(settings.timeout))
                .recycle_timeout(Some(settings.timeout))
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error| redis::RedisError::from(std::io::Error::other(error)))
        };
        // Two of them: whoever looks after the service does not wait behind transactions.
        let (pool, exclusive) = (pool(settings.lanes + 16)?, pool(settings.transactions)?);

        let frame = Frame { clock: Clock::default(), records: settings.records };
        let closing = CancellationToken::new();
        let mut lanes = Vec::new();
        let mut running = Vec::new();
        for _ in 0..settings.lanes {
            let lane = Lane { pool: pool.clone(), frame: frame.clone(), timeout: settings.timeout };
            let (sender, steps) = mpsc::channel(settings.queue.div_ceil(settings.lanes).max(1));
            lanes.push(sender);
            running.push(tokio::spawn(lane.run(steps, closing.clone())));
        }
        Ok(Store(Arc::new(Inner {
            pool,
            exclusive,
            lanes,
            next: AtomicUsize::new(0),
            turns: Turns::default(),
            timeout: settings.timeout,
            frame,
            closing,
            running: Mutex::new(running),
        })))
    }

    /// Runs one operation, atomically. Once it is sent it is seen through, whether or not the
    /// caller waits.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or why Redis gave no answer; [`Failure`] says what may have happened.
    #[tracing::instrument(level = "debug", name = "operation", skip_all, fields(operation = O::NAME))]
    pub async fn run<O: Operation>(
        &self,
        operation: &O,
        context: &Context,
    ) -> Result<Completed<O::Reply>, Error> {
        let begun = self.begin(operation, context);
        self.wait(begun, operation, context).await?.read::<O>()
    }

    /// Runs a read and answers its reply, or `None` where the record does not exist: the operation
    /// refuses with a code that ends in `_not_found`.
    ///
    /// # Errors
    ///
    /// Every other refusal, and every failure of [`Store::run`].
    pub async fn find<O: Operation>(
        &self,
        operation: &O,
        context: &Context,
    ) -> Result<Option<O::Reply>, Error> {
        match self.run(operation, context).await {
            Ok(completed) => Ok(Some(completed.reply)),
            Err(Error::Refused(refused)) if refused.reply.code.code.ends_with("_not_found") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs several operations in one script: all of them happen or none does. Answers one reply for
    /// each; or the replies up to the first that refuses, and then none has happened.
    ///
    /// # Errors
    ///
    /// Why Redis gave no answer, or that there are too many keys for one script.
    #[tracing::instrument(level = "debug", name = "operation", skip_all, fields(operation = All::NAME))]
    pub async fn run_atomically(
        &self,
        operations: &[&dyn ErasedOperation],
        dry_run: bool,
        context: &Context,
    ) -> Result<Completed<Vec<RawReply>>, Error> {
        let all = All { operations, dry_run };
        let script = Library::embedded().script(All::NAME);
        let bound = EncodedInvocation::of(&all, &script, context);
        for (what, count, most) in [
            ("keys", bound.keys.len(), lane::MAX_KEYS),
            ("arguments", bound.args.len(), lane::MAX_ARGS),
        ] {
            if count > most {
                return Err(Error::TooLarge { what, count, most });
            }
        }
        let begun = self.enter(&script, bound, &context.space);
        self.wait(begun, &all, context).await?.split(&all)
    }

    /// Puts an operation into a lane, if there is room.
    fn begin(&self, operation: &dyn ErasedOperation, context: &Context) -> PendingReply {
        let script = Library::embedded().script(operation.name());
        let bound = EncodedInvocation::of(operation, &script, context);
        self.enter(&script, bound, &context.space)
    }

    fn enter(&self, script: &Arc<Script>, bound: EncodedInvocation, space: &Id) -> PendingReply {
        let (step, mut begun) = self.step(script, script, bound, space);
        let Inner { lanes, next, .. } = &*self.0;
        let lane = &lanes[next.fetch_add(1, Ordering::Relaxed) % lanes.len()];
        if let Err(error) = lane.try_send(step) {
            begun.answered = Err(match error {
                mpsc::error::TrySendError::Full(_) => Failure::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Failure::ShuttingDown,
            });
        }
        begun
    }

    /// A place in one lane, for operations that are to run in the order in which they are begun.
    pub fn ordered(&self) -> OrderedQueue {
        let lane = self.0.next.fetch_add(1, Ordering::Relaxed) % self.0.lanes.len();
        OrderedQueue { store: self.clone(), lane }
    }

    /// What goes into a lane for an operation, and what comes out of it. `carrier` is the script that
    /// it is sent in: its own one, or one of several operations.
    fn step(
        &self,
        script: &Arc<Script>,
        carrier: &Arc<Script>,
        bound: EncodedInvocation,
        space: &Id,
    ) -> (Step, PendingReply) {
        let (answer, answered) = oneshot::channel();
        let started = Instant::now();
        let step = Step {
            script: Arc::clone(carrier),
            operation: script.name,
            bound,
            space: space.to_string(),
            deadline: started + self.0.timeout,
            answer,
        };
        (step, PendingReply { answered: Ok(answered), started })
    }

    /// Waits for the answer of an operation. What its script wants done first is done, by one for all
    /// who wait for it, and then the operation begins anew.
    ///
    /// # Errors
    ///
    /// Why Redis gave no answer.
    pub async fn wait(
        &self,
        mut begun: PendingReply,
        operation: &dyn ErasedOperation,
        context: &Context,
    ) -> Result<RawReply, Error> {
        let started = begun.started;
        let waiting = Instant::now();
        let mut turn: Option<Turn<'_>> = None;
        let result = loop {
            match begun.answered().await {
                Err(Failure::First { operation: name, keys })
                    if waiting.elapsed() < self.0.timeout =>
                {
                    if turn.as_ref().is_none_or(|turn| !turn.is_for(&keys)) {
                        drop(turn.take());
                        turn = self.0.turns.take(&keys).await;
                    }
                    if turn.is_some() {
                        let first = Library::embedded().script(&name);
                        let first =
                            self.enter(&first, EncodedInvocation::to_keys(&keys), &context.space);
                        match first.answered().await {
                            Ok(_) => {}
                            // The operation itself has done nothing yet, however this ended.
                            Err(Failure::Unknown { cause, .. }) => {
                                break Err(Failure::Unavailable(cause));
                            }
                            Err(failure) => break Err(failure),
                        }
                    }
                    begun = self.begin(operation, context);
                }
                result => break result,
            }
        };
        let script = Library::embedded().script(operation.name());
        match result {
            Ok(lane::Answer { replayed, reply }) => {
                Ok(RawReply { script, reply, replayed, started: Some(started) })
            }
            Err(failure) => {
                script.record(library::Outcome::Failed, started.elapsed());
                Err(failure.into())
            }
        }
    }

    /// How long a call may wait for Redis.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Asks Redis for a sign of life, on a connection of its own.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn ping(&self) -> Result<(), Failure> {
        let mut connection =
            self.0.pool.get().await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| {
            Failure::from_reply(error.code().unwrap_or("CLUSTERDOWN"), error.to_string())
        })
    }

    /// Reads one page of a scan through the keys of all spaces. Returns the cursor of the next page,
    /// and (kind, space, id) of each key of one of `kinds`. A scan begins and ends with cursor 0.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub async fn scan<'a>(
        &self,
        kinds: &[&'a str],
        cursor: u64,
    ) -> Result<(u64, Vec<(&'a str, Id, Id)>), Failure> {
        let mut connection =
            self.0.pool.get().await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(key_pattern(kinds)).arg("COUNT").arg(SCAN_PAGE);
        let page = command.query_async(&mut connection).await;
        let (next, keys): (u64, Vec<String>) =
            page.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let things = keys.iter().filter_map(|key| {
            let (space, rest) = key.strip_prefix("lockstep:{")?.split_once("}:")?;
            let (kind, id) = rest.split_once(':')?;
            let kind = kinds.iter().find(|known| **known == kind)?;
            Some((*kind, Id::try_from(space.to_owned()).ok()?, Id::try_from(id.to_owned()).ok()?))
        });
        Ok((next, things.collect()))
    }

    /// The server's `maxmemory-policy`, where it tells: any but `noeviction` can evict money.
    pub async fn eviction_policy(&self) -> Option<String> {
        let mut connection = self.0.pool.get().await.ok()?;
        let command = redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").to_owned();
        let (_, policy): (String, String) = command.query_async(&mut connection).await.ok()?;
        Some(policy)
    }

    /// How many connections the pool has made and not taken out, and how many of them are idle.
    pub fn pool_status(&self) -> (usize, usize) {
        let status = self.0.pool.status();
        (status.size, status.available)
    }

    /// The clock that scripts go by, for tests.
    pub fn clock(&self) -> &Clock {
        &self.0.frame.clock
    }

    /// Takes no more calls, and waits until those that were taken are answered.
    pub async fn close(&self) {
        self.0.closing.cancel();
        let running = std::mem::take(
            &mut *self.0.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for lane in running {
            // A lane that panicked has nothing left to wait for.
            let _ = lane.await;
        }
    }
}

/// The pattern of the keys of some kinds. MATCH has no alternatives, so it is the ending that the
/// kinds have in common: `*_holds` of `account_holds` and `product_holds`.
fn key_pattern(kinds: &[&str]) -> String {
    let mut ending = kinds.first().copied().unwrap_or_default();
    while !kinds.iter().all(|kind| kind.ends_with(ending)) {
        ending = ending.get(1..).unwrap_or_default();
    }
    format!("lockstep:{{*}}:*{ending}:*")
}

#[cfg(test)]
mod tests {
    use super::key_pattern;

    #[test]
    fn one_pattern_matches_all_kinds() {
        assert_eq!(key_pattern(&["account_holds", "product_holds"]), "lockstep:{*}:*_holds:*");
        assert_eq!(key_pattern(&["lease"]), "lockstep:{*}:*lease:*");
        assert_eq!(key_pattern(&["account_holds", "job"]), "lockstep:{*}:*:*");
    }
}
