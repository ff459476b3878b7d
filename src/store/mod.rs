//! The only code that knows Redis: one pool, one library of scripts, one way to run them.

mod embedded;
mod failure;
mod header;
mod lane;
mod library;
mod operation;
mod reply;

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
pub use operation::{Call, Context, Done, Error, Minted, Operation, Refusal};

use crate::types::Id;
use lane::{Lane, Step};
use operation::Strings;

/// How to reach Redis and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `redis://host:port/db` or `unix:///path`.
    pub url: String,
    /// How many shared connections carry scripts.
    pub lanes: usize,
    /// How many calls may wait in all before the next is refused as `overloaded`.
    pub queue: usize,
    /// How long a call may wait to be sent, and then for its answer.
    pub timeout: Duration,
    /// What is kept of what was done.
    pub records: Records,
}

/// What is kept of what was done, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Records {
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
    lanes: Vec<mpsc::Sender<Step>>,
    next: AtomicUsize,
    timeout: Duration,
    clock: Clock,
    closing: CancellationToken,
    running: Mutex<Vec<JoinHandle<()>>>,
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
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.timeout))
            .set_response_timeout(Some(settings.timeout));
        let manager = Manager::new_with_config(info.set_tcp_settings(tcp), config)?;
        let pool = Pool::builder(manager)
            .max_size(settings.lanes + 16)
            .wait_timeout(Some(settings.timeout))
            .create_timeout(Some(settings.timeout))
            .recycle_timeout(Some(settings.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| redis::RedisError::from(std::io::Error::other(error)))?;

        let (clock, closing) = (Clock::default(), CancellationToken::new());
        let mut lanes = Vec::new();
        let mut running = Vec::new();
        for _ in 0..settings.lanes {
            let lane = Lane {
                pool: pool.clone(),
                clock: clock.clone(),
                records: settings.records,
                timeout: settings.timeout,
            };
            let (sender, steps) = mpsc::channel(settings.queue.div_ceil(settings.lanes).max(1));
            lanes.push(sender);
            running.push(tokio::spawn(lane.run(steps, closing.clone())));
        }
        Ok(Store(Arc::new(Inner {
            pool,
            lanes,
            next: AtomicUsize::new(0),
            timeout: settings.timeout,
            clock,
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
    ) -> Result<Done<O::Reply>, Error> {
        let script = Library::embedded().script(O::NAME);
        let once = context.idempotency_key.as_deref().filter(|_| !script.header.read_only);
        let started = Instant::now();
        let result = loop {
            let mut call = Call::new(O::NAME, context, once.is_some());
            operation.bind(&mut call);
            script.header.check(&call);
            match self.step(&script, call.finish(once), &context.space).await {
                Err(Failure::First { operation, keys }) if started.elapsed() < self.0.timeout => {
                    if let Err(failure) = self.run_first(&operation, &keys, &context.space).await {
                        break Err(failure);
                    }
                }
                result => break result,
            }
        };
        let result = result
            .map_err(Error::Failed)
            .and_then(|answer| reply::decode::<O>(&script, answer.reply, answer.replayed));
        script.record(&result, started.elapsed());
        result
    }

    /// Runs what a script wants done before it. The caller's own call has done nothing yet, however
    /// this ends.
    async fn run_first(&self, name: &str, keys: &[String], space: &Id) -> Result<(), Failure> {
        let bound = (Strings::from_keys(keys), Strings::default(), String::new());
        match self.step(&Library::embedded().script(name), bound, space).await {
            Ok(_) => Ok(()),
            Err(Failure::Unknown { cause, .. }) => Err(Failure::Unavailable(cause)),
            Err(failure) => Err(failure),
        }
    }

    async fn step(
        &self,
        script: &Arc<Script>,
        (keys, args, fingerprint): (Strings, Strings, String),
        space: &Id,
    ) -> Result<lane::Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        self.send(Step {
            script: Arc::clone(script),
            keys,
            args,
            fingerprint,
            space: space.to_string(),
            deadline: Instant::now() + self.0.timeout,
            answer,
        })?;
        answered.await.unwrap_or(Err(Failure::ShuttingDown))
    }

    fn send(&self, step: Step) -> Result<(), Failure> {
        let Inner { lanes, next, .. } = &*self.0;
        let lane = &lanes[next.fetch_add(1, Ordering::Relaxed) % lanes.len()];
        lane.try_send(step).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Failure::ShuttingDown,
        })
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

    /// Some of the things of some kinds that there are, in all spaces: those on one page of a scan
    /// through all keys, as kind, space and id; and the cursor of the next page. It begins and ends
    /// with 0.
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
        command.arg(cursor).arg("MATCH").arg("lockstep:{*}:*_holds:*").arg("COUNT").arg(SCAN_PAGE);
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
        &self.0.clock
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
