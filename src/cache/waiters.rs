//! The waiters of this process: the calls of `POST /cache/get` that wait until somebody else has filled an entry.
//! A script that fills or invalidates an entry publishes its key to each process in which somebody waits for it.
//!
//! One waiter of an entry looks at a time, and what it has seen is also the answer of the others: however many wait, a fill
//! costs a process one script and one value read. Messages can be lost, so they also look now and then, see `lookup`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedMutexGuard, watch},
    time::Instant,
};

use super::{ENTRY, key::CacheKey, lookup::Hit};
use crate::{
    store::{Listener, Notification, Store},
    types::Id,
};

/// The process goes on listening for so long after the last waiter, because the next one may be near.
const IDLE: Duration = Duration::from_secs(5);

/// The word that a message about a cache entry begins with, before the key in Redis.
const PREFIX: &str = "cache ";

/// All waiters of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct EntryWaiters(Arc<Mutex<EntryWaiterTable>>);

#[derive(Default)]
struct EntryWaiterTable {
    /// By the key in Redis.
    entries: HashMap<String, WaitedEntry>,
    /// True while the task runs that hears messages.
    is_listening: bool,
}

/// An entry for which somebody waits.
struct WaitedEntry {
    /// When the newest message about the entry came: then all who wait for it look again.
    changed: watch::Sender<Instant>,
    last_look: Arc<tokio::sync::Mutex<Option<Look>>>,
}

/// A result of one waiter's look that holds for all others of its entry, too.
pub struct Look {
    /// Before the entry was read.
    pub sent_at: Instant,
    pub seen: Seen,
}

/// The state of an entry, as a look finds it.
pub enum Seen {
    /// A fresh value, as it was so long after [`Look::sent_at`] at the most.
    Value(Hit),
    /// Somebody else fills the entry, until then at the latest.
    Filling(Instant),
}

/// The turn of a waiter to look, with what the last one has seen.
pub type LookTurn = OwnedMutexGuard<Option<Look>>;

/// The registration of a waiter in this process, until it is dropped.
pub struct EntryWait {
    waiters: EntryWaiters,
    entry: String,
    changed: watch::Receiver<Instant>,
    last_look: Arc<tokio::sync::Mutex<Option<Look>>>,
}

impl EntryWaiters {
    /// Registers a waiter for an entry, before its first try: then no message to it can be missed.
    pub fn register(&self, store: &Store, space: &Id, key: &CacheKey) -> EntryWait {
        let entry = format!("lockstep:{{{space}}}:{ENTRY}:{key}");
        let mut table = self.lock();
        let waited = table.entries.entry(entry.clone()).or_insert_with(|| WaitedEntry {
            changed: watch::Sender::new(Instant::now()),
            last_look: Arc::default(),
        });
        let (changed, last_look) = (waited.changed.subscribe(), Arc::clone(&waited.last_look));
        let listens = std::mem::replace(&mut table.is_listening, true);
        drop(table);
        if !listens {
            tokio::spawn(listen(Arc::downgrade(&self.0), store.listen()));
        }
        metrics::gauge!("lockstep_cache_waiters").increment(1);
        EntryWait { waiters: self.clone(), entry, changed, last_look }
    }

    fn lock(&self) -> MutexGuard<'_, EntryWaiterTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitedEntry {
    /// Tells all who wait that the entry may have changed.
    fn tell(&self) {
        self.changed.send_replace(Instant::now());
    }
}

impl EntryWait {
    /// Forgets what was heard before a try: what comes from now on is news.
    pub fn clear(&mut self) {
        self.changed.borrow_and_update();
    }

    /// Resolves when the entry has changed since [`EntryWait::clear`], and returns when this process heard of it.
    pub async fn changed(&mut self) -> Instant {
        if self.changed.changed().await.is_err() {
            // The sender is in the table for as long as this waiter is.
            std::future::pending().await
        }
        *self.changed.borrow()
    }

    /// Resolves when it is the turn of this waiter to look. The others of its entry wait until the turn is dropped.
    pub fn turn(&self) -> impl Future<Output = LookTurn> + Send + use<> {
        Arc::clone(&self.last_look).lock_owned()
    }

    /// True if somebody else waits for the same entry.
    pub fn has_company(&self) -> bool {
        // A receiver counts as one, and so does each of the others.
        self.waiters
            .lock()
            .entries
            .get(&self.entry)
            .is_some_and(|entry| entry.changed.receiver_count() > 1)
    }
}

impl Drop for EntryWait {
    fn drop(&mut self) {
        metrics::gauge!("lockstep_cache_waiters").decrement(1);
        let mut table = self.waiters.lock();
        if table.entries.get(&self.entry).is_some_and(|entry| entry.changed.receiver_count() == 1) {
            table.entries.remove(&self.entry);
        }
    }
}

/// Hears messages until nobody has waited for a while.
async fn listen(waiters: Weak<Mutex<EntryWaiterTable>>, mut listener: Listener) {
    let mut last_used = Instant::now();
    loop {
        let notification = listener.next(IDLE).await;
        let Some(waiters) = waiters.upgrade().map(EntryWaiters) else { return };
        let mut table = waiters.lock();
        if !table.entries.is_empty() {
            last_used = Instant::now();
        } else if last_used.elapsed() > IDLE {
            table.is_listening = false;
            return;
        }
        match notification {
            Some(Notification::Message(message)) => {
                let entry = message.strip_prefix(PREFIX).and_then(|key| table.entries.get(key));
                entry.iter().for_each(|entry| entry.tell());
            }
            Some(Notification::Gap) => table.entries.values().for_each(WaitedEntry::tell),
            None => {}
        }
    }
}
