//! Notifications: messages that scripts publish to one process, and the one connection on which it hears
//! them. Those who wait for locks and for cache entries share it.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep, timeout},
};

use super::{
    Failure, Inner, Store,
    admin::read_failure,
    connection::{Route, checkout},
};

/// The connection goes on for so long after the last listener, because the next one may be near.
const IDLE: Duration = Duration::from_secs(5);

/// A connection on which nothing is heard for so long is asked for a message, and made anew if that does not come.
const SILENCE: Duration = Duration::from_secs(1);

/// The pause before a connection that failed is made again.
const RECONNECT: Duration = Duration::from_millis(200);

/// The most messages that a listener may be behind. One that has missed some is told so.
const BACKLOG: usize = 4096;

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

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// A message of a script.
    Message(Arc<str>),
    /// Messages may have been lost.
    Gap,
}

/// The messages for this process since the listener was made.
pub struct Listener(broadcast::Receiver<Notification>);

/// The listeners of this process.
pub(super) struct Notifications {
    sender: broadcast::Sender<Notification>,
    /// True while the task runs that has the connection.
    is_hearing: Mutex<bool>,
}

impl Notifications {
    pub(super) fn new() -> Notifications {
        let (sender, _) = broadcast::channel(BACKLOG);
        Notifications { sender, is_hearing: Mutex::new(false) }
    }
}

/// A subscription to the messages for this process. Messages that are published while there is none are lost.
struct Subscription {
    messages: Pin<Box<dyn Stream<Item = redis::Msg> + Send>>,
    route: Arc<Route>,
    generation: u64,
}

/// What a subscription gives within [`SILENCE`].
enum Heard {
    Message(Arc<str>),
    Nothing,
    /// The connection has ended, or its server was left.
    End,
}

impl Subscription {
    async fn next(&mut self) -> Heard {
        tokio::select! {
            message = timeout(SILENCE, self.messages.next()) => match message {
                Ok(Some(message)) => {
                    Heard::Message(String::from_utf8_lossy(message.get_payload_bytes()).into())
                }
                Ok(None) => Heard::End,
                Err(_) => Heard::Nothing,
            },
            () = self.route.left(self.generation) => Heard::End,
        }
    }
}

impl Listener {
    /// Waits for the next notification, for `most` at most.
    pub async fn next(&mut self, most: Duration) -> Option<Notification> {
        match timeout(most, self.0.recv()).await.ok()? {
            Ok(notification) => Some(notification),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notification::Gap),
            // The store is gone, and with it everything that a listener could wait for.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Store {
    /// The id of this process, for which scripts publish messages to `lockstep:process:<id>`.
    pub fn process(&self) -> ProcessId {
        self.0.process
    }

    /// Listens to the messages for this process. The first thing to be heard is a [`Notification::Gap`] once the
    /// connection stands, where it did not stand before.
    pub fn listen(&self) -> Listener {
        let Notifications { sender, is_hearing } = &self.0.notifications;
        let mut is_hearing = is_hearing.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = Listener(sender.subscribe());
        if !std::mem::replace(&mut *is_hearing, true) {
            tokio::spawn(hear(Arc::downgrade(&self.0)));
        }
        listener
    }

    /// Subscribes to the messages for this process, on a connection of its own.
    ///
    /// # Errors
    ///
    /// The failure to connect or to subscribe, each after the store timeout at the latest.
    async fn subscribe(&self) -> Result<Subscription, Failure> {
        // A cluster passes a message on to all of its nodes, so any of them will do.
        let nodes = self.0.topology.map().nodes.clone();
        let node = fastrand::choice(&nodes).ok_or(Failure::ShuttingDown)?;
        let route = Arc::clone(&node.route);
        let (connection, generation) = route.subscribe(&self.channel()).await?;
        Ok(Subscription { messages: Box::pin(connection.into_on_message()), route, generation })
    }

    /// Publishes a message to this process, which says that the subscription works.
    async fn publish_alive(&self) {
        let publishing = async {
            let nodes = self.0.topology.map().nodes.clone();
            let node = fastrand::choice(&nodes).ok_or(Failure::ShuttingDown)?;
            let mut connection = checkout(&node.pool, SILENCE).await?;
            let mut command = redis::cmd("PUBLISH");
            command.arg(self.channel()).arg("alive");
            let published: redis::RedisResult<u64> = command.query_async(&mut *connection).await;
            published.map(|_| ()).map_err(|error| read_failure(&error))
        };
        // Without it, the silence goes on and the subscription is made anew.
        if let Ok(Err(failure)) = timeout(SILENCE, publishing).await {
            tracing::debug!(%failure, "cannot publish to this process");
        }
    }

    fn channel(&self) -> String {
        format!("lockstep:process:{}", self.0.process)
    }
}

/// Passes messages on to the listeners until there have been none for a while.
async fn hear(inner: Weak<Inner>) {
    let store = || inner.upgrade().map(Store);
    let mut last_used = Instant::now();
    loop {
        let Some(hearing) = store() else { return };
        let mut subscription = match hearing.subscribe().await {
            Ok(subscription) => subscription,
            Err(failure) => {
                if hearing.0.notifications.sender.receiver_count() > 0 {
                    tracing::warn!(%failure, "cannot hear messages of Redis");
                }
                drop(hearing);
                sleep(RECONNECT).await;
                let Some(hearing) = store() else { return };
                if hearing.stops_hearing(&mut last_used) {
                    return;
                }
                continue;
            }
        };
        hearing.tell(Notification::Gap);
        drop(hearing);
        let mut is_asked = false;
        loop {
            let heard = subscription.next().await;
            let Some(hearing) = store() else { return };
            if hearing.stops_hearing(&mut last_used) {
                return;
            }
            match heard {
                Heard::Message(message) => {
                    is_asked = false;
                    hearing.tell(Notification::Message(message));
                }
                Heard::Nothing if !is_asked => {
                    is_asked = true;
                    hearing.publish_alive().await;
                }
                Heard::Nothing | Heard::End => break,
            }
        }
    }
}

impl Store {
    fn tell(&self, notification: Notification) {
        // Nobody may listen just now.
        let _ = self.0.notifications.sender.send(notification);
    }

    /// Returns true if nobody has listened for a while, and notes then that the task ends.
    fn stops_hearing(&self, last_used: &mut Instant) -> bool {
        let Notifications { sender, is_hearing } = &self.0.notifications;
        let mut is_hearing = is_hearing.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.receiver_count() > 0 {
            *last_used = Instant::now();
        } else if last_used.elapsed() > IDLE {
            *is_hearing = false;
            return true;
        }
        false
    }
}
