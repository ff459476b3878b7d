//! Notifications: messages that scripts publish to one process, and the one connection on which it hears
//! them. `locks` waits for them.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::{Failure, Store, connection::Route};

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
    route: Arc<Route>,
    generation: u64,
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
    /// The failure to connect or to subscribe, each after the store timeout at the latest.
    pub async fn subscribe(&self) -> Result<Subscription, Failure> {
        let route = Arc::clone(&self.0.route);
        let subscribing = route.subscribe(&format!("lockstep:process:{}", self.0.process)).await;
        let (connection, generation) = subscribing?;
        let messages = Box::pin(connection.into_on_message());
        Ok(Subscription { messages, route, generation })
    }
}

impl Subscription {
    /// Waits for the next message; `None` if the connection has ended, if its server was left, or if there was
    /// none for `most`.
    pub async fn next(&mut self, most: Duration) -> Option<String> {
        let message = tokio::select! {
            message = timeout(most, self.messages.next()) => message.ok()??,
            () = self.route.left(self.generation) => return None,
        };
        Some(String::from_utf8_lossy(message.get_payload_bytes()).into_owned())
    }
}
