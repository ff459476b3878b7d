//! A node: one server that takes calls, with everything that the store has for it. Calls for one node wait in its
//! own queues, so that a node that does not answer holds up nothing but its own calls.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Topology;
use crate::store::{
    HostPort, Settings,
    activity::ConnectionActivity,
    batcher::{BatchWorker, MAX_LARGE_CALLS, MAX_STEPS, PendingCall, RunnerArgs},
    connection::{Pool, Route, pool},
    open::SPARE_CONNECTIONS,
    user_script::UserScripts,
};

/// One server: the way to it, its connections, and its batch workers with their queues.
pub struct Node {
    /// The number that tells it from all other nodes of this process, past ones too.
    pub id: u64,
    /// Its address; `None` for a server on a Unix socket, and for one that sentinels or several addresses lead to.
    pub host_port: Option<HostPort>,
    pub route: Arc<Route>,
    /// The connections for what is no batch: probes, walks, and batch workers that replace theirs.
    pub pool: Pool,
    /// The connections of transactions by WATCH, each with one transaction at a time.
    pub transaction_pool: Pool,
    /// One queue for each batch worker: first of those that do not wait for replicas, then of those that do.
    pub queues: Vec<mpsc::Sender<PendingCall>>,
    /// The number of the former.
    plain_queues: usize,
    /// The queue of the worker that takes the calls with large values, so that small ones do not wait behind them.
    pub large_queue: mpsc::Sender<PendingCall>,
    /// The activity of each batch worker, and of the one for large values behind them.
    pub worker_activity: Vec<Arc<ConnectionActivity>>,
    /// The bytes that calls to this node may have in all, and what is left of them, where it is one of several.
    pub room: Option<(Arc<Semaphore>, usize)>,
    /// The connection of callers' own scripts.
    pub user_scripts: UserScripts,
    next_queue: AtomicUsize,
}

/// What the nodes of a topology have in common.
pub(super) struct NodeContext<'a> {
    pub settings: &'a Settings,
    pub runner_args: &'a RunnerArgs,
    /// The bytes that calls to the node may have, where it is one of several.
    pub room: Option<usize>,
    pub topology: &'a Weak<Topology>,
    pub workers: &'a TaskTracker,
    pub closing: &'a CancellationToken,
}

/// The pools of a node. Connections are made when they are needed.
pub(super) struct NodePools {
    route: Arc<Route>,
    pool: Pool,
    transaction_pool: Pool,
}

impl NodePools {
    /// Makes the pools of the server of a route.
    ///
    /// # Errors
    ///
    /// The sentence of the pool.
    pub fn of(route: &Arc<Route>, settings: &Settings) -> Result<NodePools, String> {
        let pool = |size| pool(route, size, settings.timeout).map_err(|error| error.to_string());
        // Two pools: probes and the sweeper do not wait behind transactions.
        let transaction_pool = pool(settings.transactions)?;
        let pool = pool(settings.workers() + SPARE_CONNECTIONS)?;
        Ok(NodePools { route: Arc::clone(route), pool, transaction_pool })
    }

    /// Starts the batch workers of the node.
    pub fn start(self, context: &NodeContext) -> Arc<Node> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let NodeContext { settings, runner_args, room, topology, workers, closing } = context;
        let NodePools { route, pool, transaction_pool } = self;
        let queue_length = settings.queue.div_ceil(settings.batch_workers).max(1);
        let mut worker_activity = Vec::new();
        let mut start_worker = |number, max_calls, wait| {
            let activity = Arc::default();
            worker_activity.push(Arc::clone(&activity));
            let worker = BatchWorker {
                node: id,
                host_port: route.host_port(),
                number,
                topology: Weak::clone(topology),
                route: Arc::clone(&route),
                pool: pool.clone(),
                runner_args: (*runner_args).clone(),
                timeout: settings.timeout,
                wait,
                max_calls,
                activity,
            };
            let (sender, queue) = mpsc::channel(queue_length);
            workers.spawn(worker.run(queue, (*closing).clone()));
            sender
        };
        let demanded = settings.demanded_wait();
        let waits = Some(demanded.unwrap_or(settings.usual_wait()));
        let (plain, last) = (settings.batch_workers, settings.workers() - 1);
        let queues = (0..last)
            .map(|number| start_worker(number, MAX_STEPS, waits.filter(|_| number >= plain)));
        let queues: Vec<_> = queues.collect();
        let large_queue = start_worker(last, MAX_LARGE_CALLS, demanded);
        Arc::new(Node {
            id,
            host_port: route.host_port(),
            route,
            pool,
            transaction_pool,
            queues,
            plain_queues: plain,
            large_queue,
            worker_activity,
            room: room.map(|bytes| (Arc::new(Semaphore::new(bytes)), bytes)),
            user_scripts: UserScripts::default(),
            next_queue: AtomicUsize::new(0),
        })
    }
}

impl Node {
    /// The number of the worker whose turn it is. A connection that waits for replicas reads nothing meanwhile, so
    /// calls that do not have to wait have others.
    pub fn next_worker(&self, awaits_replicas: bool) -> usize {
        let (first, count) = match awaits_replicas {
            true => (self.plain_queues, self.queues.len() - self.plain_queues),
            false => (0, self.plain_queues),
        };
        first + self.next_queue.fetch_add(1, Ordering::Relaxed) % count
    }

    /// The queue of a worker by its number. The last number is that of the worker for large values.
    pub fn queue(&self, number: usize) -> &mpsc::Sender<PendingCall> {
        self.queues.get(number).unwrap_or(&self.large_queue)
    }

    /// Its address as text, for people.
    pub fn name(&self) -> String {
        self.host_port.as_ref().map_or_else(|| "--redis-url".to_owned(), HostPort::to_string)
    }
}
