//! Notifications: messages that scripts publish to one process, and the one connection on which it hears
//! them. `locks` waits for them.

use std::{fmt, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::{Failure, Store, admin::read_failure};

/// The id of a process among those that use one Redis: 32 hexadecimal digits, made at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId(uuid::Uuid);

impl ProcessId {
    pub(super) fn new() -> ProcessId {
        ProcessId(uuid::Uuid::now_v7())
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// A subscription to the messages for this process, on a connection of its own. Messages that are
/// published while there is none are lost.
pub struct Subscription {
    messages: Pin<Box<dyn Stream<Item = redis::Msg> + Send>>,
}

impl Store {
    /// The id of this process, for which scripts publish messages to `lockstep:process:<id>`.
    pub fn process(&self) -> ProcessId {
        self.0.process
    }

    /// Connects, and subscribes to the messages for this process.
    ///
    /// # Errors
    ///
    /// The failure to connect or to subscribe, after the store timeout at the latest.
    pub async fn subscribe(&self) -> Result<Subscription, Failure> {
        let nodes = self.0.topology.map().nodes.clone();
        // A cluster passes a message on to all of its nodes, so any of them will do.
        let Some(node) = fastrand::choice(&nodes) else { return Err(Failure::ShuttingDown) };
        let subscribing = async {
            let mut connection = node.route.subscriber()?.get_async_pubsub().await?;
            connection.subscribe(format!("lockstep:process:{}", self.0.process)).await?;
            Ok(connection)
        };
        let connection = timeout(self.0.timeout, subscribing)
            .await
            .map_err(|_| Failure::Unavailable("no subscription in time".to_owned()))?
            .map_err(|error: redis::RedisError| read_failure(&error))?;
        Ok(Subscription { messages: Box::pin(connection.into_on_message()) })
    }
}

impl Subscription {
    /// Waits for the next message; `None` if the connection has ended, or if there was none for `most`.
    pub async fn next(&mut self, most: Duration) -> Option<String> {
        let message = timeout(most, self.messages.next()).await.ok()??;
        Some(String::from_utf8_lossy(message.get_payload_bytes()).into_owned())
    }
}
