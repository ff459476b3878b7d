//! The shared connection of a batch worker: made, checked after idling, and replaced.

use redis::Pipeline;
use tokio::time::Instant;

use super::BatchWorker;
use crate::store::{
    Failure,
    connection::{Connection, PooledConnection, RECHECK_PERIOD, checkout},
};

/// The connection of a batch worker, on which all of its batches are pipelined.
pub(super) struct SharedConnection {
    connection: Connection,
    last_used: Instant,
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
        let fresh = SharedConnection { connection: fresh, last_used: Instant::now() };
        Ok(connection.insert(fresh).connection.clone())
    }
}
