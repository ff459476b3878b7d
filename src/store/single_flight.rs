//! Single flight: when several callers need the same prerequisite, one of them runs it and the others
//! wait for it. `pending` uses it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync;

/// The prerequisites that are running, by the keys they work on.
#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<Vec<String>, Arc<sync::Mutex<()>>>>);

/// Held by the one caller that runs a prerequisite. Dropping it lets the waiting callers go on.
pub(super) struct Leader<'a> {
    single_flight: &'a SingleFlight,
    keys: Vec<String>,
    _running: sync::OwnedMutexGuard<()>,
}

impl SingleFlight {
    /// Makes the first caller for these keys the leader. Every other caller waits until the leader is
    /// done and then gets `None`.
    pub async fn lead(&self, keys: &[String]) -> Option<Leader<'_>> {
        let running = Arc::clone(self.lock().entry(keys.to_vec()).or_default());
        match Arc::clone(&running).try_lock_owned() {
            Ok(guard) => Some(Leader { single_flight: self, keys: keys.to_vec(), _running: guard }),
            Err(_) => {
                let _leader_is_done = running.lock().await;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<String>, Arc<sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader<'_> {
    /// True if this leads the prerequisite of these keys.
    pub fn leads(&self, keys: &[String]) -> bool {
        self.keys == keys
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.single_flight.lock().remove(&self.keys);
    }
}
