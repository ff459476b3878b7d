//! Opening and closing a store: its connection pools, its queues and its batch workers.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize};

use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AdminConnection, Clock, Failure, Inner, ProcessId, Settings, StartRefusal, Store,
    batcher::{BatchWorker, MAX_LARGE_CALLS, MAX_STEPS, RunnerArgs},
    connection::{Route, pool},
    large_values::MAX_LARGE_READS,
    local::Local,
    notifications::Notifications,
    script_trace::MAX_TRACES,
    single_flight::SingleFlight,
    user_script::UserScripts,
};

/// The connections for what is no batch: probes, the sweeper, a worker that replaces its connection, and
/// callers' own scripts.
const SPARE_CONNECTIONS: usize = 16;

/// The most bytes that the queues can be bounded by; a permit of the semaphore is a byte.
const MOST_QUEUE_BYTES: usize = u32::MAX as usize;

impl Settings {
    /// Finds out whether the settings of the way to the server fit each other, and whether their files can be
    /// used.
    ///
    /// # Errors
    ///
    /// The sentence about what is wrong.
    pub fn check(&self) -> Result<(), String> {
        Route::new(&self.url, &self.access, self.timeout).map(drop)
    }

    /// The most connections to the server that a store has at a time.
    pub fn connections(&self) -> usize {
        self.batch_workers + 1 + SPARE_CONNECTIONS + self.transactions
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
        let route = Arc::new(Route::new(&settings.url, &settings.access, settings.timeout)?);
        let pool = |size| pool(&route, size, settings.timeout).map_err(|error| error.to_string());
        // Two pools: probes and the sweeper do not wait behind transactions.
        let transaction_pool = pool(settings.transactions)?;
        let pool = pool(settings.batch_workers + 1 + SPARE_CONNECTIONS)?;

        let runner_args = RunnerArgs { clock: Clock::default(), retention: settings.retention };
        let closing = CancellationToken::new();
        let queue_length = settings.queue.div_ceil(settings.batch_workers).max(1);
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        let mut worker_activity = Vec::new();
        let mut start_worker = |max_calls| {
            let activity = Arc::default();
            worker_activity.push(Arc::clone(&activity));
            let worker = BatchWorker {
                route: Arc::clone(&route),
                pool: pool.clone(),
                runner_args: runner_args.clone(),
                timeout: settings.timeout,
                max_calls,
                activity,
            };
            let (sender, queue) = mpsc::channel(queue_length);
            workers.push(tokio::spawn(worker.run(queue, closing.clone())));
            sender
        };
        for _ in 0..settings.batch_workers {
            queues.push(start_worker(MAX_STEPS));
        }
        tokio::spawn({
            let (route, closing) = (Arc::clone(&route), closing.clone());
            async move { closing.run_until_cancelled(route.follow()).await }
        });
        let large_queue = start_worker(MAX_LARGE_CALLS);
        let queue_bytes = settings.queue_bytes.clamp(1, MOST_QUEUE_BYTES);
        Ok(Store(Arc::new(Inner {
            route,
            pool,
            transaction_pool,
            queues,
            large_queue,
            large_reads: Semaphore::new(MAX_LARGE_READS),
            worker_activity,
            queue_bytes,
            queue_room: Arc::new(Semaphore::new(queue_bytes)),
            next_queue: AtomicUsize::new(0),
            single_flight: SingleFlight::default(),
            timeout: settings.timeout,
            opened: Instant::now(),
            runner_args,
            process: ProcessId::new(),
            notifications: Notifications::new(),
            local: Local::default(),
            user_scripts: UserScripts::default(),
            traces: Semaphore::new(MAX_TRACES),
            background: TaskTracker::new(),
            draining: CancellationToken::new(),
            closing,
            workers: Mutex::new(workers),
        })))
    }

    /// Makes a connection for what the service does beside calls.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    pub async fn connect_admin(&self) -> Result<AdminConnection, StartRefusal> {
        Ok(AdminConnection { connection: self.0.route.connect().await? })
    }

    /// Sends no calls from now on; they fail with `reason`. A service does so until it has looked at the
    /// server and at the format of its data.
    pub fn hold_back(&self, reason: Failure) {
        self.0.route.hold_back(reason);
    }

    /// True while calls are held back.
    pub fn is_held_back(&self) -> bool {
        self.0.route.is_held_back()
    }

    /// Ends what [`Store::hold_back`] began.
    pub fn admit(&self) {
        self.0.route.admit();
    }

    /// Waits for the tasks in the background, closes the queues, and returns when every call that was taken
    /// has its result.
    pub async fn close(&self) {
        self.drain();
        self.0.background.close();
        // A task that cannot reach Redis gives up by itself; what it holds there ends by its time.
        let _ = timeout(self.0.timeout, self.0.background.wait()).await;
        self.0.closing.cancel();
        let workers = {
            let mut workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *workers)
        };
        for worker in workers {
            // A worker that panicked has nothing left to wait for.
            let _ = worker.await;
        }
    }
}
