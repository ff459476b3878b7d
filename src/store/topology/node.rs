//! A node: one server that takes calls, with everything that the store has for it. Calls for one node wait in its
//! own queues, so that a node that does not answer holds up nothing but its own calls.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use redis::RedisResult;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Address, Topology};
use crate::store::{
    Settings,
    activity::ConnectionActivity,
    batcher::{BatchWorker, PendingCall, RunnerArgs},
    connection::{Pool, Route, pool},
    open::SPARE_CONNECTIONS,
    user_script::UserScripts,
};

/// One server: the way to it, its connections, and its batch workers with their queues.
pub struct Node {
    /// The number that tells it from all other nodes of this process, past ones too.
    pub id: u64,
    /// Its address; `None` for a server on a Unix socket.
    pub address: Option<Address>,
    pub route: Arc<Route>,
    /// The connections for what is no batch: probes, walks, and batch workers that replace theirs.
    pub pool: Pool,
    /// The connections of transactions by WATCH, each with one transaction at a time.
    pub transaction_pool: Pool,
    /// One queue for each batch worker.
    pub queues: Vec<mpsc::Sender<PendingCall>>,
    /// The activity of each batch worker.
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
    pub fn of(route: &Arc<Route>, settings: &Settings) -> RedisResult<NodePools> {
        let pool = |size| pool(route, size, settings.timeout).map_err(io::Error::other);
        // Two pools: probes and the sweeper do not wait behind transactions.
        let transaction_pool = pool(settings.transactions)?;
        let pool = pool(settings.batch_workers + SPARE_CONNECTIONS)?;
        Ok(NodePools { route: Arc::clone(route), pool, transaction_pool })
    }

    /// Starts the batch workers of the node.
    pub fn start(self, context: &NodeContext) -> Arc<Node> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let NodeContext { settings, runner_args, room, topology, workers, closing } = context;
        let NodePools { route, pool, transaction_pool } = self;
        let queue_length = settings.queue.div_ceil(settings.batch_workers).max(1);
        let (mut queues, mut worker_activity) = (Vec::new(), Vec::new());
        for number in 0..settings.batch_workers {
            let activity = Arc::default();
            worker_activity.push(Arc::clone(&activity));
            let worker = BatchWorker {
                node: id,
                address: route.address(),
                number,
                topology: Weak::clone(topology),
                route: Arc::clone(&route),
                pool: pool.clone(),
                runner_args: (*runner_args).clone(),
                timeout: settings.timeout,
                activity,
            };
            let (sender, queue) = mpsc::channel(queue_length);
            queues.push(sender);
            workers.spawn(worker.run(queue, (*closing).clone()));
        }
        Arc::new(Node {
            id,
            address: route.address(),
            route,
            pool,
            transaction_pool,
            queues,
            worker_activity,
            room: room.map(|bytes| (Arc::new(Semaphore::new(bytes)), bytes)),
            user_scripts: UserScripts::default(),
            next_queue: AtomicUsize::new(0),
        })
    }
}

impl Node {
    /// The queue whose turn it is.
    pub fn next_queue(&self) -> &mpsc::Sender<PendingCall> {
        &self.queues[self.next_queue.fetch_add(1, Ordering::Relaxed) % self.queues.len()]
    }

    /// Its address as text, for people.
    pub fn name(&self) -> String {
        self.address.as_ref().map_or_else(|| "unix socket".to_owned(), Address::to_string)
    }
}
