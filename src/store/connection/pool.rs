//! Pools of idle connections, and the one bounded way to take a connection out of them.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{
        self, BuildError, Metrics, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts,
    },
};
use redis::{Pipeline, Value};
use tokio::time::timeout;

use super::{Connection, RECHECK_PERIOD, Route, ask_role, is_replica, replica};
use crate::store::{Failure, activity::ConnectionActivity};

/// Connections of one route, of which each has one user at a time.
pub(in crate::store) type Pool = managed::Pool<Connections>;

/// A connection that goes back to its pool when it is dropped.
pub(in crate::store) type PooledConnection = managed::Object<Connections>;

/// Makes a pool of at most `size` connections.
pub(in crate::store) fn pool(
    route: &Arc<Route>,
    size: usize,
    timeout: Duration,
) -> Result<Pool, BuildError> {
    let connections = Connections { route: Arc::clone(route), timeout, activity: Arc::default() };
    Pool::builder(connections).max_size(size).runtime(Runtime::Tokio1).build()
}

/// Makes the connections of a pool, and looks at each before it is used again.
pub(in crate::store) struct Connections {
    route: Arc<Route>,
    timeout: Duration,
    activity: Arc<ConnectionActivity>,
}

impl Connections {
    /// The activity of all connections of the pool that were not taken for good.
    pub fn activity(&self) -> &ConnectionActivity {
        &self.activity
    }
}

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = Failure;

    async fn create(&self) -> Result<Connection, Failure> {
        let mut connection = self.route.connect_for_calls().await?;
        self.activity.count_created();
        connection.count_into(&self.activity);
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Failure> {
        if connection.generation() != self.route.generation() {
            self.activity.count_lost();
            return Err(RecycleError::message("its server was left"));
        }
        // A connection that does not answer leaves half of the time for a new one.
        let time_limit = RECHECK_PERIOD.min(self.timeout / 2);
        let checked = check(connection, time_limit).await;
        checked.map_err(|failure| {
            // The other idle connections lead to the same server, and each would take as long.
            self.route.leave(connection.generation());
            self.activity.count_lost();
            RecycleError::Backend(failure)
        })
    }
}

/// Ends a WATCH that was left behind, and finds out whether the server still answers and is no replica.
async fn check(connection: &mut Connection, time_limit: Duration) -> Result<(), Failure> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("UNWATCH");
    let asks_role = connection.needs_role_check();
    if asks_role {
        ask_role(&mut pipeline);
    }
    pipeline.ignore_errors();
    let sent = connection.send(&pipeline, time_limit).await;
    let replies = sent.map_err(|unanswered| Failure::Unavailable(unanswered.cause))?;
    if let Some(Value::ServerError(error)) = replies.first() {
        return Err(Failure::from_server_error(error).without_effect());
    }
    if asks_role {
        if replies.last().is_some_and(is_replica) {
            return Err(replica());
        }
        connection.role_is_checked();
    }
    Ok(())
}

/// Takes a connection from a pool within `time_limit`, which is around all of it: waiting for a free
/// one, checking idle ones, and making a new one.
///
/// # Errors
///
/// [`Failure::Overloaded`] when every connection is in use, otherwise the reason why none can be made.
pub(in crate::store) async fn checkout(
    pool: &Pool,
    time_limit: Duration,
) -> Result<PooledConnection, Failure> {
    // A moment shorter than the whole, so that a full pool is told from a server that does not answer.
    let wait = time_limit.saturating_sub(Duration::from_millis(5));
    let timeouts = Timeouts { wait: Some(wait), ..Timeouts::default() };
    match timeout(time_limit, pool.timeout_get(&timeouts)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(PoolError::Backend(failure))) => Err(failure),
        Ok(Err(PoolError::Timeout(TimeoutType::Wait))) => Err(Failure::Overloaded),
        Ok(Err(error)) => Err(Failure::Unavailable(error.to_string())),
        Err(_) => Err(pool.manager().route.not_in_time()),
    }
}
