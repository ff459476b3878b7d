//! The shared connection of a batch worker, and the bounded checkout from the pool that everything in the
//! store uses.

use std::time::Duration;

use deadpool_redis::{Connection, Pool, PoolError, TimeoutType};
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, timeout};

use super::BatchWorker;
use crate::store::Failure;

/// A connection that has been idle for this long is probed first. A server that went away meanwhile is
/// noticed only by writing to it, and a command that is lost that way has an unknown outcome.
const PROBE_AFTER: Duration = Duration::from_secs(1);

/// The connection of a batch worker, multiplexed: commands are pipelined on it.
pub(super) struct SharedConnection {
    connection: MultiplexedConnection,
    last_used: Instant,
}

impl SharedConnection {
    /// Sends a PING, and returns true if it is answered within `time_limit`.
    async fn is_alive(&mut self, time_limit: Duration) -> bool {
        let ping = redis::cmd("PING");
        let reply = self.connection.send_packed_command(&ping);
        matches!(timeout(time_limit, reply).await, Ok(Ok(_)))
    }
}

impl BatchWorker {
    /// Returns the worker's connection, and makes one where there is none that is alive.
    pub(super) async fn connect(
        &self,
        connection: &mut Option<SharedConnection>,
    ) -> Result<MultiplexedConnection, Failure> {
        if let Some(shared) = connection
            && (shared.last_used.elapsed() < PROBE_AFTER
                || shared.is_alive(self.timeout.min(PROBE_AFTER)).await)
        {
            shared.last_used = Instant::now();
            return Ok(shared.connection.clone());
        }
        let fresh = checkout(&self.pool, self.timeout).await.map_err(|failure| match failure {
            // Nothing of a batch was sent, so it may be sent again.
            Failure::Overloaded => Failure::Unavailable("no connection in time".to_owned()),
            other => other,
        })?;
        let fresh = Connection::take(fresh);
        metrics::counter!("lockstep_store_connections_total").increment(1);
        let fresh = SharedConnection { connection: fresh, last_used: Instant::now() };
        Ok(connection.insert(fresh).connection.clone())
    }
}

/// Takes a connection from a pool within `time_limit`.
///
/// The limit is around the whole checkout: the pool tries one idle connection after the other, and each
/// try has a timeout of its own.
///
/// # Errors
///
/// [`Failure::Overloaded`] when every connection is in use, [`Failure::Unavailable`] when none can be
/// made.
pub(in crate::store) async fn checkout(
    pool: &Pool,
    time_limit: Duration,
) -> Result<Connection, Failure> {
    match timeout(time_limit, pool.get()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(PoolError::Timeout(TimeoutType::Wait))) => Err(Failure::Overloaded),
        Ok(Err(error)) => Err(Failure::Unavailable(error.to_string())),
        Err(_) if pool.status().waiting > 0 => Err(Failure::Overloaded),
        Err(_) => Err(Failure::Unavailable("no connection in time".to_owned())),
    }
}
