//! The waiters of this process: the calls of `POST /cache/get` that wait until somebody else has filled an entry.
//! A script that fills or invalidates an entry publishes its key to each process in which somebody waits for it.
//!
//! Messages can be lost, so every waiter also looks for itself now and then, see `lookup`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{ENTRY, key::CacheKey};
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
    /// By the key in Redis: tells all who wait for that entry to look again.
    entries: HashMap<String, watch::Sender<()>>,
    /// True while the task runs that hears messages.
    is_listening: bool,
}

/// The registration of a waiter in this process, until it is dropped.
pub struct EntryWait {
    waiters: EntryWaiters,
    entry: String,
    changed: watch::Receiver<()>,
}

impl EntryWaiters {
    /// Registers a waiter for an entry, before its first try: then no message to it can be missed.
    pub fn register(&self, store: &Store, space: &Id, key: &CacheKey) -> EntryWait {
        let entry = format!("lockstep:{{{space}}}:{ENTRY}:{key}");
        let mut table = self.lock();
        let changed = table.entries.entry(entry.clone()).or_default().subscribe();
        let listens = std::mem::replace(&mut table.is_listening, true);
        drop(table);
        if !listens {
            tokio::spawn(listen(Arc::downgrade(&self.0), store.listen()));
        }
        metrics::gauge!("lockstep_cache_waiters").increment(1);
        EntryWait { waiters: self.clone(), entry, changed }
    }

    fn lock(&self) -> MutexGuard<'_, EntryWaiterTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntryWait {
    /// Forgets what was heard before a try: what comes from now on is news.
    pub fn clear(&mut self) {
        self.changed.borrow_and_update();
    }

    /// Resolves when the entry has changed since [`EntryWait::clear`].
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The sender is in the table for as long as this waiter is.
            std::future::pending().await
        }
    }
}

impl Drop for EntryWait {
    fn drop(&mut self) {
        metrics::gauge!("lockstep_cache_waiters").decrement(1);
        let mut table = self.waiters.lock();
        if table.entries.get(&self.entry).is_some_and(|entry| entry.receiver_count() == 1) {
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
                entry.iter().for_each(|entry| entry.send_replace(()));
            }
            Some(Notification::Gap) => {
                table.entries.values().for_each(|entry| {
                    entry.send_replace(());
                });
            }
            None => {}
        }
    }
}
