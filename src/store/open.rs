//! Opening and closing a store: its connection pools, its queues and its batch workers.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AdminConnection, Clock, Failure, Inner, ProcessId, Settings, StartRefusal, Store,
    activity::ConnectionActivity,
    batcher::{BatchWorker, MAX_LARGE_CALLS, MAX_STEPS, PendingCall, RunnerArgs},
    connection::{Pool, Route, Wait, pool},
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

/// The batch workers that wait for replicas, where every write does: while one waits, another sends.
const WAITING_WORKERS: usize = 2;

impl Settings {
    /// The number of batch workers whose calls wait for replicas. Without the setting these are the grants of
    /// locks alone.
    fn waiting_workers(&self) -> usize {
        if self.wait_replicas > 0 { self.batch_workers.max(WAITING_WORKERS) } else { 1 }
    }

    /// The number of all batch workers; one takes the calls with large values.
    fn workers(&self) -> usize {
        self.batch_workers + self.waiting_workers() + 1
    }

    /// What every write waits for, where that is asked for.
    fn demanded_wait(&self) -> Option<Wait> {
        let (replicas, timeout) = (self.wait_replicas, self.wait_timeout);
        (replicas > 0).then_some(Wait { replicas, timeout, is_demanded: true })
    }

    /// What writes wait for that wait in any case, where the server has replicas.
    fn usual_wait(&self) -> Wait {
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

    /// The most connections to the server that a store has at a time.
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
        let route = Arc::new(Route::new(&settings.url, &settings.access, settings.timeout)?);
        let pool = |size| pool(&route, size, settings.timeout).map_err(|error| error.to_string());
        // Two pools: probes and the sweeper do not wait behind transactions.
        let transaction_pool = pool(settings.transactions)?;
        let pool = pool(settings.workers() + SPARE_CONNECTIONS)?;

        let runner_args = RunnerArgs { clock: Clock::default(), retention: settings.retention };
        let closing = CancellationToken::new();
        let Workers { queues, large_queue, activity: worker_activity, tasks: workers } =
            Workers::start(settings, &route, &pool, &runner_args, &closing);
        tokio::spawn({
            let (route, closing) = (Arc::clone(&route), closing.clone());
            async move { closing.run_until_cancelled(route.follow()).await }
        });
        let queue_bytes = settings.queue_bytes.clamp(1, MOST_QUEUE_BYTES);
        Ok(Store(Arc::new(Inner {
            route,
            pool,
            transaction_pool,
            queues,
            plain_queues: settings.batch_workers,
            wait: settings.demanded_wait(),
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

/// The batch workers of a store.
struct Workers {
    /// Of those that do not wait for replicas, then of those that do.
    queues: Vec<mpsc::Sender<PendingCall>>,
    large_queue: mpsc::Sender<PendingCall>,
    activity: Vec<Arc<ConnectionActivity>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(
        settings: &Settings,
        route: &Arc<Route>,
        pool: &Pool,
        runner_args: &RunnerArgs,
        closing: &CancellationToken,
    ) -> Workers {
        let queue_length = settings.queue.div_ceil(settings.batch_workers).max(1);
        let (mut activity, mut tasks) = (Vec::new(), Vec::new());
        let mut start = |max_calls, wait| {
            let of_worker = Arc::default();
            activity.push(Arc::clone(&of_worker));
            let worker = BatchWorker {
                route: Arc::clone(route),
                pool: pool.clone(),
                runner_args: runner_args.clone(),
                timeout: settings.timeout,
                wait,
                max_calls,
                activity: of_worker,
            };
            let (sender, queue) = mpsc::channel(queue_length);
            tasks.push(tokio::spawn(worker.run(queue, closing.clone())));
            sender
        };
        let demanded = settings.demanded_wait();
        let waits = Some(demanded.unwrap_or(settings.usual_wait()));
        let mut queues = Vec::new();
        queues.extend((0..settings.batch_workers).map(|_| start(MAX_STEPS, None)));
        queues.extend((0..settings.waiting_workers()).map(|_| start(MAX_STEPS, waits)));
        let large_queue = start(MAX_LARGE_CALLS, demanded);
        Workers { queues, large_queue, activity, tasks }
    }
}
