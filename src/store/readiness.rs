//! Readiness: whether the server can serve every call now, and if not, which check it fails.
//! `monitoring` asks for it.

use futures_util::future::select_ok;
use tokio::time::{Instant, timeout_at};

use super::{
    Failure, Store,
    admin::read_failure,
    connection::checkout,
    rights::{self, Trial},
    topology::Node,
};
use crate::types::Id;

/// The reason why a store is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// The check that failed.
    pub check: ReadinessCheck,
    /// The failure that a call would have met.
    pub failure: Failure,
}

/// A check of readiness, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ReadinessCheck {
    /// The server can be reached, lets the service in, is no replica, and has data of this format.
    Connection,
    /// Every slot of a cluster has an owner.
    Slots,
    /// The server takes writes: it has loaded its data, and has memory, disk and enough replicas.
    Writes,
    /// The Redis user may run every command that the service needs.
    Rights,
}

impl Store {
    /// Finds out whether the server can serve every call now, within one store timeout. Of a cluster one master that
    /// can is enough, as long as every slot has an owner: the calls of the others fail, and those alone. Changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub async fn check_ready(&self) -> Result<(), NotReady> {
        let map = self.0.topology.map();
        if map.unowned() > 0 {
            self.0.topology.request_refresh();
            let failure =
                Failure::SlotUnavailable(format!("{} slots have no owner", map.unowned()));
            return Err(NotReady { check: ReadinessCheck::Slots, failure });
        }
        let asked = map.nodes.iter().map(|node| Box::pin(self.ask_ready(node)));
        select_ok(asked).await.map(drop)
    }

    /// Asks one server, within one store timeout. `checkout` keeps to it by itself and says why there is no connection;
    /// the deadline here is for the question.
    async fn ask_ready(&self, node: &Node) -> Result<(), NotReady> {
        let deadline = Instant::now() + self.0.timeout;
        let unconnected = |failure| NotReady { check: ReadinessCheck::Connection, failure };
        let mut connection = checkout(&node.pool, self.0.timeout).await.map_err(unconnected)?;
        let tag = self.0.topology.map().tag_at(node);
        let asking = rights::missing(&mut connection, Trial::Write, &tag, &[]);
        let Ok(missing) = timeout_at(deadline, asking).await else {
            return Err(unconnected(Failure::Unavailable("no answer in time".to_owned())));
        };
        let missing = missing.map_err(|error| {
            self.0.topology.leave(node, connection.generation());
            let check = match error.code() {
                Some("NOPERM") => ReadinessCheck::Rights,
                Some(_) => ReadinessCheck::Writes,
                None => ReadinessCheck::Connection,
            };
            NotReady { check, failure: read_failure(&error) }
        })?;
        lacking(&missing)
            .map_or(Ok(()), |failure| Err(NotReady { check: ReadinessCheck::Rights, failure }))
    }

    /// Finds out why a script failed, where that may have been a right that the Redis user lacks: the error
    /// of a script has no code that would tell. Every other failure stays.
    pub(super) async fn explain(&self, failure: Failure, space: &Id) -> Failure {
        let Failure::Script(_) = failure else { return failure };
        let node = self.0.topology.node_for(space.as_str());
        let Ok(mut connection) = checkout(&node.pool, self.0.timeout).await else {
            return failure;
        };
        match rights::missing(&mut connection, Trial::Read, space.as_str(), &[]).await {
            Ok(missing) => lacking(&missing).unwrap_or(failure),
            Err(_) => failure,
        }
    }
}

/// The failure of calls whose Redis user lacks rights.
fn lacking(missing: &[String]) -> Option<Failure> {
    (!missing.is_empty()).then(|| Failure::Unavailable(rights::sentence(missing)))
}
