//! Opening and closing a store: its connection pools, its queues and its batch workers.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use deadpool_redis::{Hook, HookError, Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Clock, Inner, ProcessId, Settings, Store,
    batcher::{BatchWorker, RunnerArgs},
    format::check_connection,
    single_flight::SingleFlight,
};

impl Store {
    /// Opens a store and starts its batch workers. Connections are made when they are needed. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the URL is not one of Redis.
    pub fn open(settings: &Settings) -> redis::RedisResult<Store> {
        let info = settings.url.as_str().into_connection_info()?;
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = info.set_tcp_settings(tcp);
        // Two pools: probes and the sweeper do not wait behind transactions.
        let pool = connection_pool(&info, settings.batch_workers + 16, settings.timeout)?;
        let transaction_pool = connection_pool(&info, settings.transactions, settings.timeout)?;

        let runner_args = RunnerArgs { clock: Clock::default(), retention: settings.retention };
        let closing = CancellationToken::new();
        let queue_length = settings.queue.div_ceil(settings.batch_workers).max(1);
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        for _ in 0..settings.batch_workers {
            let (pool, runner_args) = (pool.clone(), runner_args.clone());
            let worker = BatchWorker { pool, runner_args, timeout: settings.timeout };
            let (sender, queue) = mpsc::channel(queue_length);
            queues.push(sender);
            workers.push(tokio::spawn(worker.run(queue, closing.clone())));
        }
        Ok(Store(Arc::new(Inner {
            pool,
            transaction_pool,
            queues,
            next_queue: AtomicUsize::new(0),
            single_flight: SingleFlight::default(),
            timeout: settings.timeout,
            runner_args,
            process: ProcessId::new(),
            subscriber: redis::Client::open(info)?,
            background: TaskTracker::new(),
            draining: CancellationToken::new(),
            closing,
            workers: Mutex::new(workers),
        })))
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

fn connection_pool(
    info: &ConnectionInfo,
    size: usize,
    timeout: Duration,
) -> redis::RedisResult<Pool> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    Pool::builder(Manager::new_with_config(info.clone(), config)?)
        .max_size(size)
        // The server behind the URL may have become another one since the start.
        .post_create(Hook::async_fn(|connection, _| {
            Box::pin(async move {
                check_connection(connection)
                    .await
                    .map_err(|error| HookError::message(error.to_string()))
            })
        }))
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .recycle_timeout(Some(timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| redis::RedisError::from(std::io::Error::other(error)))
}
