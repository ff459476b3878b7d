//! Graceful shutdown: which requests are in flight, and whether new ones are still taken.

use std::sync::{Arc, OnceLock};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{AccessControl, AllowedHosts, Limits, Observation};
use crate::api::BodyRoom;

/// Counts the requests in flight and refuses new ones once the service shuts down. All clones share
/// one state. It also holds the settings that every request is given.
#[derive(Clone)]
pub struct ShutdownGate {
    pub(super) limits: Limits,
    pub(super) base_path: Arc<str>,
    pub(super) observation: Arc<Observation>,
    /// Set once by the router, for all clones.
    access: Arc<OnceLock<Arc<AccessControl>>>,
    pub(super) hosts: Option<Arc<AllowedHosts>>,
    in_flight: TaskTracker,
    leaving: CancellationToken,
    closed: CancellationToken,
}

/// One request in flight, until this is dropped.
#[derive(Debug)]
pub struct InFlight(
    #[expect(dead_code, reason = "it counts until it is dropped")] TaskTrackerToken,
);

impl Default for ShutdownGate {
    fn default() -> ShutdownGate {
        ShutdownGate::new(Limits::default())
    }
}

impl ShutdownGate {
    /// An open gate.
    pub fn new(limits: Limits) -> ShutdownGate {
        ShutdownGate {
            limits,
            base_path: Arc::from(""),
            observation: Arc::default(),
            access: Arc::default(),
            hosts: None,
            in_flight: TaskTracker::new(),
            leaving: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }

    /// The same gate for a service whose paths begin with `base_path`.
    #[must_use]
    pub fn with_base_path(self, base_path: &str) -> ShutdownGate {
        ShutdownGate { base_path: base_path.into(), ..self }
    }

    /// The same gate for a service whose bodies have `bytes` at most.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> ShutdownGate {
        let limits = Limits { body_bytes: bytes, ..self.limits };
        ShutdownGate { limits, ..self }
    }

    /// The memory for bodies, for another server of the same process.
    pub fn body_room(&self) -> BodyRoom {
        self.limits.body_room.clone()
    }

    /// The same gate for a service whose requests are recorded there.
    #[must_use]
    pub fn with_observation(self, observation: Observation) -> ShutdownGate {
        ShutdownGate { observation: Arc::new(observation), ..self }
    }

    /// Has all clones of the gate ask callers for their keys.
    pub fn require_keys(&self, access: Arc<AccessControl>) {
        let _ = self.access.set(access);
    }

    /// The same gate for a service that answers for these hosts only; `None` for any.
    #[must_use]
    pub fn with_hosts(self, hosts: Option<AllowedHosts>) -> ShutdownGate {
        ShutdownGate { hosts: hosts.map(Arc::new), ..self }
    }

    /// The check of callers' keys; `None` where the service has none.
    pub fn access(&self) -> Option<&Arc<AccessControl>> {
        self.access.get()
    }

    /// Announces the end: the service is not ready any more, but still answers requests.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// True once the end has been announced.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Refuses all requests from now on. Those in flight go on.
    pub fn close(&self) {
        self.leave();
        self.closed.cancel();
        self.in_flight.close();
    }

    /// Resolves when the gate has been closed.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// True once the gate has been closed.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Resolves when the gate has been closed and no request is in flight.
    pub async fn drained(&self) {
        self.in_flight.wait().await;
    }

    /// The number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Counts one more request in flight; `None` if the gate is closed.
    pub fn enter(&self) -> Option<InFlight> {
        // Counted before the check: otherwise `drained` could resolve between the two.
        let in_flight = InFlight(self.in_flight.token());
        (!self.is_closed()).then_some(in_flight)
    }
}
