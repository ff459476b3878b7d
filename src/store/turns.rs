use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync;

/// Work that several callers want done before theirs, and that one of them does for all.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Vec<String>, Arc<sync::Mutex<()>>>>);

/// That of the one who does it, until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    keys: Vec<String>,
    _done: sync::OwnedMutexGuard<()>,
}

impl Turns {
    /// The turn to work on these keys; or nothing, once somebody else who had it is done.
    pub async fn take(&self, keys: &[String]) -> Option<Turn<'_>> {
        let at_work = Arc::clone(self.lock().entry(keys.to_vec()).or_default());
        match Arc::clone(&at_work).try_lock_owned() {
            Ok(done) => Some(Turn { turns: self, keys: keys.to_vec(), _done: done }),
            Err(_) => {
                let _others_work_is_done = at_work.lock().await;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<String>, Arc<sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Whether it is that of work on these keys.
    pub fn is_for(&self, keys: &[String]) -> bool {
        self.keys == keys
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.keys);
    }
}
