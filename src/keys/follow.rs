//! The way in which a process learns of keys: it reads the number of changes twice a second, and all keys where that is another one.
//! `cli::serve` runs [`follow_keys`]; a call that changes a key has this process learn of it at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    load::{LoadKeys, LoadedKey},
    poll::PollKeys,
    touch::{MOST_TOUCHED, TouchKeys},
};
use crate::{
    api::ScanStep,
    auth::KeyRing,
    store::{self, Context, Failure, Store},
    types::Id,
};

/// The time between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// The same before the keys are known.
const FIRST_PERIOD: Duration = Duration::from_millis(50);

/// The most keys that one script reads.
const PAGE: u64 = 500;

/// The longest wait for the last uses to be stored, which would hold up the end of the service.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Keeps the ring current until the service shuts down, and stores when keys were last used. While the store does not
/// answer, the ring stays as it is.
pub async fn follow_keys(store: Store, ring: Arc<KeyRing>) {
    let follow = async {
        let mut told = false;
        loop {
            if !store.is_held_back() {
                match look(&store, &ring).await {
                    Ok(()) => told = false,
                    Err(error) if told => tracing::debug!(?error, "keys were not read"),
                    Err(error) => {
                        tracing::warn!(?error, "keys were not read; those that are known stay");
                        told = true;
                    }
                }
            }
            sleep(if ring.is_loaded() { PERIOD } else { FIRST_PERIOD }).await;
        }
    };
    tokio::select! {
        () = store.draining() => {}
        () = follow => {}
    }
    let _ = timeout(END_TIMEOUT, store_uses(&store, &ring)).await;
}

/// Reads the keys if they have changed, and stores last uses.
async fn look(store: &Store, ring: &KeyRing) -> Result<(), store::Error> {
    let context = Context::of_space(ring.space().clone());
    let polled = store.run(&PollKeys, &context).await?.reply;
    ring.set_clock(polled.now_ms);
    if !ring.is_loaded() || polled.version != ring.version() {
        // A change that comes meanwhile has a greater number, so the next look reads again.
        let known = load(store, &context).await?;
        ring.replace(polled.version, known.into_iter().filter_map(known_key).collect());
    }
    store_uses(store, ring).await
}

/// Reads all keys.
async fn load(store: &Store, context: &Context) -> Result<Vec<LoadedKey>, store::Error> {
    let mut all = Vec::new();
    let mut step = ScanStep::first(PAGE);
    loop {
        let reply = store.run(&LoadKeys(step), context).await?.reply;
        all.extend(reply.items);
        if reply.next.is_empty() {
            return Ok(all);
        }
        step = ScanStep::reading(reply.next, PAGE);
    }
}

/// A key that cannot be read lets nobody in, and the others stay.
fn known_key(loaded: LoadedKey) -> Option<crate::auth::KnownKey> {
    loaded.known().map_err(|error| tracing::error!(error, "a key cannot be read")).ok()
}

/// Has this process learn of a key that it has changed. If the store does not answer, the next look does it.
pub(super) async fn refresh(store: &Store, ring: &KeyRing, key_id: &str) {
    let Ok(id) = Id::try_from(key_id.to_owned()) else { return };
    let context = Context::of_space(ring.space().clone());
    match store.run(&LoadKeys(ScanStep::reading(vec![id], 1)), &context).await {
        Ok(completed) => {
            completed.reply.items.into_iter().filter_map(known_key).for_each(|key| ring.put(key));
        }
        Err(error) => tracing::debug!(?error, "a changed key was not read"),
    }
}

/// Stores the last uses that are not stored yet.
async fn store_uses(store: &Store, ring: &KeyRing) -> Result<(), store::Error> {
    let context = Context::of_space(ring.space().clone());
    for uses in ring.unstored_uses().chunks(MOST_TOUCHED) {
        match store.run(&TouchKeys(uses), &context).await {
            // A minute later there is the next use.
            Ok(_) | Err(store::Error::Failed(Failure::Unknown { .. })) => ring.uses_stored(uses),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
