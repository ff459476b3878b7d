//! Opening and closing a store.

use std::sync::Arc;

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AdminConnection, Clock, Failure, Inner, ProcessId, Settings, StartRefusal, Store,
    batcher::RunnerArgs,
    connection::{Route, Wait},
    large_values::MAX_LARGE_READS,
    local::Local,
    notifications::Notifications,
    script_trace::MAX_TRACES,
    single_flight::SingleFlight,
    topology::Topology,
};

/// The connections for what is no batch: probes, the sweeper, a worker that replaces its connection, and
/// callers' own scripts.
pub(super) const SPARE_CONNECTIONS: usize = 16;

/// The most bytes that the queues can be bounded by; a permit of the semaphore is a byte.
pub(super) const MOST_QUEUE_BYTES: usize = u32::MAX as usize;

/// The batch workers that wait for replicas, where every write does: while one waits, another sends.
const WAITING_WORKERS: usize = 2;

impl Settings {
    /// The number of batch workers whose calls wait for replicas. Without the setting these are the grants of
    /// locks alone.
    pub(super) fn waiting_workers(&self) -> usize {
        if self.wait_replicas > 0 { self.batch_workers.max(WAITING_WORKERS) } else { 1 }
    }

    /// The number of all batch workers; one takes the calls with large values.
    pub(super) fn workers(&self) -> usize {
        self.batch_workers + self.waiting_workers() + 1
    }

    /// What every write waits for, where that is asked for.
    pub(super) fn demanded_wait(&self) -> Option<Wait> {
        let (replicas, timeout) = (self.wait_replicas, self.wait_timeout);
        (replicas > 0).then_some(Wait { replicas, timeout, is_demanded: true })
    }

    /// What writes wait for that wait in any case, where the server has replicas.
    pub(super) fn usual_wait(&self) -> Wait {
        let timeout = self.wait_timeout.min(self.timeout / 2);
        Wait { replicas: 1, timeout, is_demanded: false }
    }

    /// Finds out whether the settings of the way to the server fit each other, and whether their files can be
    /// used.
    ///
    /// # Errors
    ///
    /// The sentence about what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.wait_replicas > 0 && self.wait_timeout >= self.timeout {
            return Err("--wait-timeout-ms has to be less than --store-timeout-ms".to_owned());
        }
        Route::new(&self.url, &self.access, self.timeout).map(drop)
    }

    /// The most connections to one server that a store has at a time.
    pub fn connections(&self) -> usize {
        self.workers() + SPARE_CONNECTIONS + self.transactions
    }
}

impl Store {
    /// Opens a store and starts its batch workers. Connections are made when they are needed. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The sentence about a setting of the way to the server that is wrong.
    pub fn open(settings: &Settings) -> Result<Store, String> {
        let runner_args = RunnerArgs { clock: Clock::default(), retention: settings.retention };
        let queue_bytes = settings.queue_bytes.clamp(1, MOST_QUEUE_BYTES);
        Ok(Store(Arc::new(Inner {
            topology: Topology::open(settings, &runner_args)?,
            wait: settings.demanded_wait(),
            large_reads: Semaphore::new(MAX_LARGE_READS),
            queue_bytes,
            queue_room: Arc::new(Semaphore::new(queue_bytes)),
            single_flight: SingleFlight::default(),
            timeout: settings.timeout,
            opened: Instant::now(),
            runner_args,
            process: ProcessId::new(),
            notifications: Notifications::new(),
            local: Local::default(),
            traces: Arc::new(Semaphore::new(MAX_TRACES)),
            background: TaskTracker::new(),
            draining: CancellationToken::new(),
        })))
    }

    /// True if every write waits for replicas.
    pub fn awaits_replicas(&self) -> bool {
        self.0.wait.is_some()
    }

    /// Makes a connection for what the service does beside calls.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    pub async fn connect_admin(&self) -> Result<AdminConnection, StartRefusal> {
        self.0.topology.connect_admin().await
    }

    /// Sends no calls from now on; they fail with `reason`. A service does so until it has looked at the
    /// server and at the format of its data.
    pub fn hold_back(&self, reason: Failure) {
        self.0.topology.hold_back(&reason);
    }

    /// True while calls are held back.
    pub fn is_held_back(&self) -> bool {
        self.0.topology.is_held_back()
    }

    /// Ends what [`Store::hold_back`] began.
    pub fn admit(&self) {
        self.0.topology.admit();
    }

    /// Waits for the tasks in the background, closes the queues, and returns when every call that was taken
    /// has its result.
    pub async fn close(&self) {
        self.drain();
        self.0.background.close();
        // A task that cannot reach Redis gives up by itself; what it holds there ends by its time.
        let _ = timeout(self.0.timeout, self.0.background.wait()).await;
        self.0.topology.close().await;
    }
}
