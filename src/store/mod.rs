//! The store: the only code that knows Redis. Domains hand it operations, and get replies or errors.
//!
//! A call goes through these files from top to bottom: `operation` (the trait that a domain implements),
//! `invocation` (its keys and arguments), `pending` (into a queue, and waiting), `batcher` (to Redis and
//! back), `script` (the script that ran, and the reading of its reply). Beside that way: `open` starts and
//! ends the batch workers, `connection` makes and leaves connections to the server, `ordered` keeps the
//! order of a stream, `single_flight` lets one caller run a prerequisite for all, `notifications` are messages of scripts,
//! `large_values` are read without a script, `local` is what domains keep in this process, `transaction` is WATCH and
//! EXEC, `user_script` runs scripts of callers, `script_trace` steps through one, `admin` is what the service asks for
//! itself, `topology` is the servers and which of them takes a call, `server_info` and `activity` are figures of the
//! server and of the connections to it, `replicas` counts who has what a call wrote, `rights` and `readiness` are what the user may do and
//! what the server can serve, `format` is the layout of the data, `migration` leads
//! from one to the next, and `embedded` is the server that Lockstep brings along. `stored_key` shows people
//! what is stored, with `packed`. `failure` has every way in which there is no reply.

mod activity;
mod admin;
mod batcher;
mod clock;
mod connection;
mod embedded;
mod failure;
mod format;
mod invocation;
mod large_values;
mod local;
mod migration;
mod notifications;
mod open;
mod operation;
mod ordered;
mod packed;
mod pending;
mod readiness;
mod replicas;
mod rights;
mod script;
mod script_trace;
mod server_info;
mod settings;
mod single_flight;
mod stored_key;
mod topology;
mod transaction;
mod user_script;

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use activity::ConnectionGroup;
pub use admin::{AdminConnection, Shard, StartRefusal};
pub use clock::Clock;
pub use connection::HostPort;
pub use embedded::{Embedded, StartError};
pub use failure::Failure;
pub use format::{FORMAT, FormatError, REGISTRATION_TTL};
pub use invocation::{GeneratedId, Invocation};
pub use large_values::{LARGE_BYTES, LargeValue};
pub use migration::{Migrated, MigrationError, MigrationStep};
pub use notifications::{Listener, Notification, ProcessId};
pub use operation::{Completed, Context, ErasedOperation, Error, Guard, Operation, Refusal};
pub use ordered::OrderedQueue;
pub use packed::PackedRecord;
pub use pending::PendingReply;
pub use readiness::{NotReady, ReadinessCheck};
pub use replicas::counting_replicas;
pub use rights::{CLUSTER_COMMANDS, COMMANDS, REPLICA_COMMANDS, SCRIPT_COMMANDS};
pub use script::{
    Field, FieldKind, Header, KeyType, Library, Params, RawReply, RedisValue, Script, ScriptValue,
};
pub use script_trace::{ScriptTrace, TraceError, TraceStep};
pub use server_info::{ScriptRuns, ServerInfo};
pub use settings::{Access, NodeMapping, Retention, Settings, StoreMode};
pub use stored_key::{
    Decode, KeyContent, KeyKind, SHARED_KINDS, ShowError, json_record, text_field, text_record,
};
pub use topology::Redirect;
pub use transaction::{ExecOutcome, Watch, WatchedValue};
pub use user_script::{Kill, RunCounts, RunError, TimedOut, UserScript};

use batcher::{MAX_ARGS, MAX_KEYS, RunnerArgs};
use connection::Wait;
use invocation::EncodedInvocation;
use local::Local;
use notifications::Notifications;
use operation::Composite;
use single_flight::SingleFlight;
use topology::Topology;

/// Runs operations. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// The servers, each with its connections and queues.
    topology: Arc<Topology>,
    /// What every write waits for, where a setting asks for it.
    wait: Option<Wait>,
    /// The places of those who read a large value.
    large_reads: Semaphore,
    /// The bytes that calls in the queues and on their way may have in all, and what is left of them.
    queue_bytes: usize,
    queue_room: Arc<Semaphore>,
    single_flight: SingleFlight,
    timeout: Duration,
    opened: Instant,
    runner_args: RunnerArgs,
    process: ProcessId,
    notifications: Notifications,
    local: Local,
    /// The places of traces, each of which is a copy of the server.
    traces: Arc<Semaphore>,
    /// Tasks that go on after their caller has gone, such as giving back what was granted to it.
    background: TaskTracker,
    draining: CancellationToken,
}

impl Store {
    /// Runs one operation, atomically. Once it is sent it is completed, whether or not the caller waits.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or the failure that took the place of a reply; [`Failure`] says what may
    /// have happened.
    #[tracing::instrument(level = "debug", name = "operation", skip_all, fields(otel.name = O::NAME, operation = O::NAME))]
    pub async fn run<O: Operation>(
        &self,
        operation: &O,
        context: &Context,
    ) -> Result<Completed<O::Reply>, Error> {
        let pending = self.enqueue(operation, context);
        self.wait(pending, operation, context).await?.read::<O>()
    }

    /// Runs a read and returns its reply, or `None` where the record does not exist: the operation
    /// refuses with a code that ends in `_not_found`. What it finds out is for a command, whose own script
    /// checks the guards of the call.
    ///
    /// # Errors
    ///
    /// Every other refusal, and every failure of [`Store::run`].
    pub async fn find<O: Operation>(
        &self,
        operation: &O,
        context: &Context,
    ) -> Result<Option<O::Reply>, Error> {
        let unguarded;
        let mut context = context;
        if !context.guards.is_empty() {
            unguarded = context.without_guards();
            context = &unguarded;
        }
        match self.run(operation, context).await {
            Ok(completed) => Ok(Some(completed.reply)),
            Err(Error::Refused(refused)) if refused.reply.code.code.ends_with("_not_found") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs several operations in one script: all of them happen or none does. Returns one reply for
    /// each; or the replies up to the first refusal, and then none has happened.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where one script cannot take so many keys or arguments, or the failure that
    /// took the place of a reply.
    #[tracing::instrument(level = "debug", name = "operation", skip_all, fields(otel.name = Composite::NAME, operation = Composite::NAME))]
    pub async fn run_atomically(
        &self,
        operations: &[&dyn ErasedOperation],
        dry_run: bool,
        context: &Context,
    ) -> Result<Completed<Vec<RawReply>>, Error> {
        let composite = Composite { operations, dry_run };
        let script = Library::embedded().script(Composite::NAME);
        let invocation = EncodedInvocation::of(&composite, &script, context);
        for (what, count, most) in [
            ("keys", invocation.keys.len(), MAX_KEYS),
            ("arguments", invocation.args.len(), MAX_ARGS),
        ] {
            if count > most {
                return Err(Error::TooLarge { what, count, most });
            }
        }
        let pending = self.enqueue_invocation(&script, invocation, &context.space);
        self.wait(pending, &composite, context).await?.split(&composite)
    }

    /// Runs a future as a task that [`Store::close`] waits for.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // A value may be dropped after the end of the runtime; then there is nobody to give back to.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.0.background.track_future(future));
        }
    }

    /// Ends long waits from now on: the service shuts down.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Resolves when long waits have to end.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// The time since it was opened.
    pub fn uptime(&self) -> Duration {
        self.0.opened.elapsed()
    }

    /// The longest a call waits for Redis.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// The clock offset of scripts, for tests.
    pub fn clock(&self) -> &Clock {
        &self.0.runner_args.clock
    }
}
