//! The topology: the servers that take calls, and which of them takes those of a space. A single server is a
//! topology of one node; a cluster has a node for each master, and a map of slots.
//!
//! `slots` has the map, `node` what the store has for each server, `redirect` the answers of a cluster that name
//! another node. `pending` asks for the node of a call, the batch
//! workers follow redirects, and everything that looks at the servers themselves walks through the nodes.
//!
//! # The map
//!
//! A task asks a node for the map when the store is opened, when an answer shows that the map is old, and now and
//! then. Calls do not wait for that: a call that goes to a wrong node is told the right one, and has not run.

mod node;
mod redirect;
mod slots;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::Duration,
};

use futures_util::future::select_ok;
use redis::{FromRedisValue, Pipeline, Value};
use tokio::{
    sync::{Notify, mpsc::error::TrySendError},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use redirect::Redirect;

pub(super) use node::Node;
use node::{NodeContext, NodePools};
use slots::read_slots;
pub(super) use slots::{SlotMap, SlotRange, owned_tag, slot_of_key};

use super::{
    AdminConnection, Failure, HostPort, Settings, StartRefusal,
    batcher::{PendingCall, RunnerArgs},
    connection::{Connection, Route},
    open::MOST_QUEUE_BYTES,
};

/// The most redirects that a call follows one after the other, before it waits like a call whose slot is not served.
pub(super) const MAX_HOPS: u8 = 5;

/// The least time between two reads of the map, and the time after which it is read although nothing seems wrong.
const REFRESH_PAUSE: Duration = Duration::from_millis(200);
const REFRESH_PERIOD: Duration = Duration::from_secs(10);

/// The longest wait for the map of one node, and the number of nodes that are asked at the same time.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const ASKED_AT_ONCE: usize = 3;

/// The servers of a store, as they are known now.
pub(super) struct Topology {
    settings: Settings,
    runner_args: RunnerArgs,
    /// The route to what `--redis-url` leads to.
    base: Arc<Route>,
    map: RwLock<Arc<SlotMap>>,
    /// The reason why calls are not sent yet, to any node.
    held_back: Mutex<Option<Failure>>,
    refresh_wanted: Arc<Notify>,
    closing: CancellationToken,
    /// Batch workers, and calls that wait to be sent again.
    workers: TaskTracker,
    /// For the nodes that are made later.
    own: Weak<Topology>,
}

/// The answer of a server to the question for its slots.
pub(super) enum Slots {
    /// It is no node of a cluster.
    SingleServer,
    /// The masters, with the slots that each owns.
    OfCluster(Vec<(SlotRange, HostPort)>),
}

impl Topology {
    /// Opens a topology: the node of the first seed at first, as if it were a single server. Must be called within
    /// a tokio runtime.
    ///
    /// # Errors
    ///
    /// The sentence about a setting of the way to the server that is wrong.
    pub fn open(settings: &Settings, runner_args: &RunnerArgs) -> Result<Arc<Topology>, String> {
        let base = Arc::new(Route::new(&settings.url, &settings.access, settings.timeout)?);
        let pools = NodePools::of(&base, settings)?;
        let topology = Arc::new_cyclic(|own| {
            let (closing, workers) = (CancellationToken::new(), TaskTracker::new());
            let node = pools.start(&NodeContext {
                settings,
                runner_args,
                room: None,
                topology: own,
                workers: &workers,
                closing: &closing,
            });
            Topology {
                settings: settings.clone(),
                runner_args: runner_args.clone(),
                base: Arc::clone(&base),
                map: RwLock::new(Arc::new(SlotMap::of_one(node))),
                held_back: Mutex::default(),
                refresh_wanted: Arc::default(),
                closing,
                workers,
                own: Weak::clone(own),
            }
        });
        tokio::spawn({
            let closing = topology.closing.clone();
            async move { closing.run_until_cancelled(base.follow()).await }
        });
        if topology.may_be_cluster() {
            tokio::spawn(keep_current(
                Arc::downgrade(&topology),
                Arc::clone(&topology.refresh_wanted),
                topology.closing.clone(),
            ));
        }
        Ok(topology)
    }

    /// The nodes and slots as they are known now.
    pub fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The node to send a call of a space to.
    pub fn node_for(&self, space: &str) -> Arc<Node> {
        Arc::clone(self.map().node_for(space))
    }

    /// True if redirects are followed.
    pub fn may_be_cluster(&self) -> bool {
        self.settings.access.mode.may_be_cluster()
    }

    /// Has the map read soon.
    pub fn request_refresh(&self) {
        if self.may_be_cluster() {
            self.refresh_wanted.notify_one();
        }
    }

    /// Leaves the server of a connection of `generation`, and has the map read: another node may serve its slots.
    pub fn leave(&self, node: &Node, generation: u64) {
        node.route.leave(generation);
        self.request_refresh();
    }

    /// Follows a redirect that the node at `from` has given: notes the new owner of the slot where it has moved, and
    /// returns the node to ask. `None` where the address is not known, or the service is about to end.
    pub fn follow(&self, redirect: &Redirect, from: Option<&HostPort>) -> Option<Arc<Node>> {
        self.request_refresh();
        let mut host_port = redirect.host_port.clone()?;
        if host_port.host.is_empty() {
            host_port.host = from?.host.clone();
        }
        let host_port = self.base.reachable(host_port);
        let kind = if redirect.ask { "ask" } else { "moved" };
        metrics::counter!("lockstep_store_redirects_total", "kind" => kind).increment(1);
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let known = map.nodes.iter().find(|node| node.host_port.as_ref() == Some(&host_port));
        let node = match known {
            Some(node) => Arc::clone(node),
            None => self.open_node_at(&host_port)?,
        };
        *map = Arc::new(match redirect.ask {
            true => map.with_node(&node),
            false => map.with_owner(redirect.slot, &node),
        });
        Some(node)
    }

    /// Puts calls into a queue of a node, that of the worker with the same number, so that calls of a stream keep
    /// their order. A call that finds no place fails.
    pub fn hand_over(
        &self,
        calls: impl IntoIterator<Item = PendingCall>,
        node: &Node,
        number: usize,
    ) {
        for call in calls {
            let refused = match node.queue(number).try_send(call) {
                Ok(()) => continue,
                Err(TrySendError::Full(call)) => (call, Failure::Overloaded),
                Err(TrySendError::Closed(call)) => (call, Failure::ShuttingDown),
            };
            let (call, failure) = refused;
            call.fail(&failure);
        }
    }

    /// Sends calls of one space to its owner after a pause, which nothing else waits for.
    pub fn hand_over_later(&self, calls: Vec<PendingCall>, number: usize, pause: Duration) {
        let own = Weak::clone(&self.own);
        self.workers.spawn(async move {
            sleep(pause).await;
            let (Some(topology), Some(first)) = (own.upgrade(), calls.first()) else { return };
            let node = topology.node_for(&first.space);
            topology.hand_over(calls, &node, number);
        });
    }

    /// Sends no calls to any node from now on; they fail with `reason`.
    pub fn hold_back(&self, reason: &Failure) {
        *self.lock_held_back() = Some(reason.clone());
        for node in &self.map().nodes {
            node.route.hold_back(reason.clone());
        }
    }

    /// Ends what [`Topology::hold_back`] began.
    pub fn admit(&self) {
        *self.lock_held_back() = None;
        for node in &self.map().nodes {
            node.route.admit();
        }
    }

    /// True while calls are held back.
    pub fn is_held_back(&self) -> bool {
        self.lock_held_back().is_some()
    }

    /// Closes the queues, and returns when every call that was taken has its result.
    pub async fn close(&self) {
        self.closing.cancel();
        self.workers.close();
        self.workers.wait().await;
    }

    /// Asks nodes for the map until one answers, and puts it in the place of the present one. Returns false where
    /// the server is no node of a cluster.
    async fn refresh(&self) -> Result<bool, Failure> {
        let mut routes: Vec<_> =
            self.map().nodes.iter().map(|node| Arc::clone(&node.route)).collect();
        // Another one first each time: the first to answer may be one that is cut off from the others.
        fastrand::shuffle(&mut routes);
        routes.extend(self.base.seeds());
        let mut failure = Failure::Unavailable("no node has answered".to_owned());
        for routes in routes.chunks(ASKED_AT_ONCE) {
            let asked = routes.iter().map(|route| {
                Box::pin(async {
                    Ok::<_, Failure>((ask_slots_of(route).await?, Arc::clone(route)))
                })
            });
            match select_ok(asked).await {
                Ok(((Slots::SingleServer, _), _)) => return Ok(false),
                Ok(((Slots::OfCluster(slots), route), _)) => {
                    self.apply(slots, &route);
                    return Ok(true);
                }
                Err(reason) => failure = reason,
            }
        }
        Err(failure)
    }

    /// Makes a map of slots that the server of `route` has told. Nodes that stay keep their connections.
    fn apply(&self, slots: Vec<(SlotRange, HostPort)>, route: &Arc<Route>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut known = map.nodes.clone();
        let mut owned = Vec::with_capacity(slots.len());
        for (range, mut host_port) in slots {
            // The node that answers means its own host.
            if host_port.host.is_empty()
                && let Some(own) = route.host_port()
            {
                host_port.host = own.host;
            }
            host_port = self.base.reachable(host_port);
            // A node that has no name for itself may be on a Unix socket.
            let is_same = |node: &Arc<Node>| match host_port.host.is_empty() {
                true => Arc::ptr_eq(&node.route, route),
                false => node.host_port.as_ref() == Some(&host_port),
            };
            let node = match known.iter().find(|node| is_same(node)) {
                Some(node) => Arc::clone(node),
                None if host_port.host.is_empty() => continue,
                None => match self.open_node_at(&host_port) {
                    Some(node) => node,
                    None => continue,
                },
            };
            if !known.iter().any(|other| other.id == node.id) {
                known.push(Arc::clone(&node));
            }
            owned.push((range, node));
        }
        if owned.is_empty() {
            // A new cluster has given no slots away yet.
            return;
        }
        let next = SlotMap::of_cluster(owned);
        log_change(&map, &next);
        *map = Arc::new(next);
    }

    /// Opens the node of an address. Called while the map is locked, so that no node is left out by
    /// [`Topology::hold_back`].
    fn open_node_at(&self, host_port: &HostPort) -> Option<Arc<Node>> {
        let route = Arc::new(self.base.to_node(host_port));
        if let Some(reason) = &*self.lock_held_back() {
            route.hold_back(reason.clone());
        }
        let pools = NodePools::of(&route, &self.settings);
        let pools =
            pools.inspect_err(|error| tracing::error!(%error, "a node cannot be used")).ok()?;
        Some(pools.start(&NodeContext {
            settings: &self.settings,
            runner_args: &self.runner_args,
            // Calls to a node that does not answer leave half of the bytes to the others.
            room: Some(self.settings.queue_bytes.clamp(2, MOST_QUEUE_BYTES) / 2),
            topology: &self.own,
            workers: &self.workers,
            closing: &self.closing,
        }))
    }

    /// Makes connections for what the service does beside calls.
    ///
    /// # Errors
    ///
    /// The reason why there is none to the server that has the key `lockstep:format`.
    pub async fn connect_admin(&self) -> Result<AdminConnection, StartRefusal> {
        AdminConnection::over(&self.base, self.settings.access.mode, self.settings.timeout).await
    }

    fn lock_held_back(&self) -> MutexGuard<'_, Option<Failure>> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Keeps the map of a topology current for as long as that exists.
async fn keep_current(topology: Weak<Topology>, wanted: Arc<Notify>, closing: CancellationToken) {
    loop {
        let Some(present) = topology.upgrade() else { return };
        let asked = Instant::now();
        let refreshed = tokio::select! {
            refreshed = present.refresh() => refreshed,
            () = closing.cancelled() => return,
        };
        drop(present);
        let period = match refreshed {
            Ok(true) => REFRESH_PERIOD,
            // It is asked again where an answer shows that it has become a cluster.
            Ok(false) => Duration::MAX,
            Err(failure) => {
                tracing::debug!(%failure, "no node has told the slots of the cluster");
                ASK_TIMEOUT
            }
        };
        tokio::select! {
            _ = timeout(period, wanted.notified()) => {}
            () = closing.cancelled() => return,
        }
        sleep_until(asked + REFRESH_PAUSE).await;
    }
}

/// Asks the server of a route for its slots, on a connection of its own.
async fn ask_slots_of(route: &Route) -> Result<Slots, Failure> {
    let asking = async {
        let mut connection = route.connect().await?;
        ask_slots(&mut connection, ASK_TIMEOUT).await
    };
    let no_answer = |_| Err(Failure::Unavailable("no answer in time".to_owned()));
    timeout(ASK_TIMEOUT, asking).await.unwrap_or_else(no_answer)
}

/// Asks a server for its slots.
///
/// # Errors
///
/// The reason why a node of a cluster did not tell them.
pub(super) async fn ask_slots(
    connection: &mut Connection,
    time_limit: Duration,
) -> Result<Slots, Failure> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("INFO").arg("cluster");
    pipeline.cmd("CLUSTER").arg("SLOTS");
    pipeline.ignore_errors();
    let sent = connection.send(&pipeline, time_limit).await;
    let replies = sent.map_err(|unanswered| Failure::Unavailable(unanswered.cause))?;
    let info = String::from_redis_value(replies[0].clone()).unwrap_or_default();
    match &replies[1] {
        Value::ServerError(error) => {
            let failure = Failure::from_server_error(error).without_effect();
            let is_cluster = info.lines().any(|line| line.trim_end() == "cluster_enabled:1");
            // Servers have several sentences for being none; those of a cluster refuse for a reason of theirs.
            let is_refused = matches!(error.code(), "LOADING" | "NOAUTH" | "BUSY" | "MASTERDOWN");
            if is_cluster || is_refused { Err(failure) } else { Ok(Slots::SingleServer) }
        }
        slots => match read_slots(slots) {
            Some(slots) => Ok(Slots::OfCluster(slots)),
            None => Err(Failure::Unavailable(
                "the reply to CLUSTER SLOTS has no known shape".to_owned(),
            )),
        },
    }
}

/// Logs the nodes that come and go.
fn log_change(before: &SlotMap, after: &SlotMap) {
    let is_in = |map: &SlotMap, node: &Node| map.nodes.iter().any(|other| other.id == node.id);
    for node in after.nodes.iter().filter(|node| !is_in(before, node)) {
        tracing::info!(node = node.name(), "a master of the cluster takes calls");
    }
    for node in before.nodes.iter().filter(|node| !is_in(after, node)) {
        tracing::info!(node = node.name(), "a node of the cluster takes no calls any more");
    }
}
