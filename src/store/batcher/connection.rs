//! The shared connection of a batch worker: made, checked after idling, and replaced.

use redis::Pipeline;
use tokio::time::Instant;

use super::BatchWorker;
use crate::store::{
    Failure,
    connection::{Connection, PooledConnection, RECHECK_PERIOD, Wait, checkout},
};

/// The connection of a batch worker, on which all of its batches are pipelined.
pub(super) struct SharedConnection {
    connection: Connection,
    last_used: Instant,
    /// The number of replicas of the server, and when it was asked for.
    replicas: Option<(u32, Instant)>,
}

impl SharedConnection {
    /// Sends a PING, and returns true if it is answered soon, and before `deadline`. A server that went
    /// away is noticed only by writing to it, and what is lost that way has an unknown outcome.
    async fn is_alive(&mut self, deadline: Instant) -> bool {
        let mut ping = Pipeline::new();
        ping.cmd("PING").ignore_errors();
        let left = deadline.saturating_duration_since(Instant::now());
        self.connection.send(&ping, left.min(RECHECK_PERIOD)).await.is_ok()
    }

    pub fn generation(&self) -> u64 {
        self.connection.generation()
    }

    /// Records that the server has said it is no replica.
    pub fn role_is_checked(&mut self) {
        self.connection.role_is_checked();
    }
}

impl BatchWorker {
    /// Returns the worker's connection, and makes one where there is none that is alive and leads to the
    /// server of now.
    ///
    /// # Errors
    ///
    /// The reason why there is none until `deadline`. Nothing of a batch was sent.
    pub(super) async fn connect(
        &self,
        connection: &mut Option<SharedConnection>,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        if let Some(shared) = connection
            && shared.generation() == self.route.generation()
            && (shared.last_used.elapsed() < RECHECK_PERIOD || shared.is_alive(deadline).await)
        {
            shared.last_used = Instant::now();
            return Ok(shared.connection.clone());
        }
        let left = deadline.saturating_duration_since(Instant::now()).min(self.timeout);
        let mut fresh = match checkout(&self.pool, left).await {
            Ok(pooled) => Ok(PooledConnection::take(pooled)),
            // Nothing of a batch was sent, so it may be sent again.
            Err(Failure::Overloaded) => {
                Err(Failure::Unavailable("no connection in time".to_owned()))
            }
            Err(failure) => Err(failure),
        }?;
        metrics::counter!("lockstep_store_connections_total").increment(1);
        self.activity.count_created();
        fresh.count_into(&self.activity);
        let fresh =
            SharedConnection { connection: fresh, last_used: Instant::now(), replicas: None };
        Ok(connection.insert(fresh).connection.clone())
    }

    /// Decides what the next batch on a connection waits for. Where no setting demands it, the server is asked once
    /// a second whether it has replicas, and one of them is waited for then.
    pub(super) async fn decide_wait(
        &self,
        connection: &mut Option<SharedConnection>,
        connected: Result<Connection, Failure>,
    ) -> (Result<Connection, Failure>, Option<Wait>) {
        let (Some(wait), Ok(_), Some(shared)) = (self.wait, &connected, connection.as_mut()) else {
            return (connected, None);
        };
        if wait.is_demanded {
            return (connected, Some(wait));
        }
        let known = shared.replicas.filter(|(_, asked)| asked.elapsed() < RECHECK_PERIOD);
        let replicas = match known {
            Some((replicas, _)) => replicas,
            None => {
                match shared.connection.count_replicas(RECHECK_PERIOD.min(self.timeout / 2)).await {
                    Ok(replicas) => replicas,
                    Err(unanswered) => {
                        self.route.leave(shared.generation());
                        *connection = None;
                        return (Err(Failure::Unavailable(unanswered.cause)), None);
                    }
                }
            }
        };
        if known.is_none() {
            shared.replicas = Some((replicas, Instant::now()));
        }
        (connected, (replicas > 0).then_some(wait))
    }
}
