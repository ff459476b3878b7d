//! The keys that this process knows. A check of a call looks here and nowhere else, so that it costs no round trip and
//! an outage of the store turns nobody away. `keys` fills it and keeps it current.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use tokio::time::Instant;

use super::{KeyDigest, PresentedKey, Principal};
use crate::types::Id;

/// A minute in milliseconds, to which the last use of a key is told.
const MINUTE_MS: u64 = 60_000;

/// The keys of callers, and the root key.
pub struct KeyRing {
    /// The space of the stored keys.
    space: Id,
    root: KeyDigest,
    keys: RwLock<HashMap<String, KnownKey>>,
    /// The number of changes to the stored keys that the ring has taken in.
    version: AtomicU64,
    is_loaded: AtomicBool,
    /// The clock of Redis in milliseconds, less the time since `opened`.
    clock_offset_ms: AtomicI64,
    opened: Instant,
}

/// A key as the ring has it.
pub struct KnownKey {
    /// The caller who has it.
    pub principal: Arc<Principal>,
    /// The number of the change that made it what it is; a later one has a greater number.
    pub revision: u64,
    /// The digest of the key.
    pub digest: KeyDigest,
    /// The digest of the key before its last rotation, and the moment in milliseconds until which that works.
    pub previous: Option<(KeyDigest, u64)>,
    /// The moment in milliseconds from which it does not work any more.
    pub expires_at: Option<u64>,
    /// False for a key that is not to work.
    pub is_enabled: bool,
    /// The minute of its last use, in milliseconds; 0 if it was not used yet.
    used_at: AtomicU64,
    /// The last use that is stored.
    stored_use: AtomicU64,
}

/// The reason why a key does not let its caller in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// It is unknown, disabled, revoked or expired.
    Refused,
    /// Nothing is known yet of any key.
    NotLoaded,
}

impl KnownKey {
    /// A key whose last use is stored as `used_at`, in milliseconds; 0 for none.
    pub fn new(principal: Principal, revision: u64, digest: KeyDigest, used_at: u64) -> KnownKey {
        KnownKey {
            principal: Arc::new(principal),
            revision,
            digest,
            previous: None,
            expires_at: None,
            is_enabled: true,
            used_at: AtomicU64::new(used_at),
            stored_use: AtomicU64::new(used_at),
        }
    }

    /// True if this digest lets in at that moment. All comparisons are made, whatever the first one says.
    fn lets_in(&self, digest: &KeyDigest, now_ms: u64) -> bool {
        let is_current = self.digest.matches(digest);
        let is_previous = self
            .previous
            .as_ref()
            .is_some_and(|(previous, until)| previous.matches(digest) & (now_ms < *until));
        let is_alive = self.is_enabled && self.expires_at.is_none_or(|end| now_ms < end);
        (is_current | is_previous) & is_alive
    }
}

impl KeyRing {
    /// The ring of keys that are stored in this space, before any is known.
    pub fn new(space: Id, root: KeyDigest) -> KeyRing {
        KeyRing {
            space,
            root,
            keys: RwLock::default(),
            version: AtomicU64::new(0),
            is_loaded: AtomicBool::new(false),
            clock_offset_ms: AtomicI64::new(0),
            opened: Instant::now(),
        }
    }

    /// The space of the stored keys.
    pub fn space(&self) -> &Id {
        &self.space
    }

    /// Finds out who has this key.
    ///
    /// # Errors
    ///
    /// The reason why nobody has.
    pub fn check(&self, key: PresentedKey<'_>) -> Result<Arc<Principal>, KeyRefusal> {
        self.check_at(key, self.now_ms())
    }

    /// Finds out who has this key at a moment of the clock of Redis.
    fn check_at(&self, key: PresentedKey<'_>, now_ms: u64) -> Result<Arc<Principal>, KeyRefusal> {
        let digest = key.digest();
        if self.root.matches(&digest) {
            return Ok(Arc::new(Principal::root(key.id())));
        }
        if !self.is_loaded() {
            return Err(KeyRefusal::NotLoaded);
        }
        let keys = self.read();
        let known = keys.get(key.id()).filter(|known| known.lets_in(&digest, now_ms));
        let known = known.ok_or(KeyRefusal::Refused)?;
        let minute = now_ms - now_ms % MINUTE_MS;
        if known.used_at.load(Ordering::Relaxed) < minute {
            known.used_at.fetch_max(minute, Ordering::Relaxed);
        }
        Ok(Arc::clone(&known.principal))
    }

    /// True once the stored keys are known.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// The number of changes to the stored keys that the ring has taken in.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Takes the clock of Redis over.
    pub fn set_clock(&self, now_ms: u64) {
        let offset = i64::try_from(now_ms).unwrap_or(i64::MAX) - self.elapsed_ms();
        self.clock_offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Takes in all stored keys, as they were after `version` changes or later. What the ring has from a later change
    /// stays.
    pub fn replace(&self, version: u64, stored: Vec<KnownKey>) {
        let mut keys = self.write();
        let mut rest = std::mem::take(&mut *keys);
        for known in stored {
            let before = rest.remove(&*known.principal.key_id);
            insert(&mut keys, known, before);
        }
        keys.extend(rest.into_iter().filter(|(_, known)| known.revision > version));
        drop(keys);
        self.version.store(version, Ordering::Relaxed);
        self.is_loaded.store(true, Ordering::Release);
    }

    /// Takes in one key that has changed, unless a later change of it is known.
    pub fn put(&self, known: KnownKey) {
        let mut keys = self.write();
        let before = keys.remove(&*known.principal.key_id);
        insert(&mut keys, known, before);
    }

    /// The digest of a key that the ring has.
    pub fn digest_of(&self, key_id: &str) -> Option<KeyDigest> {
        self.read().get(key_id).map(|known| known.digest)
    }

    /// Last uses that are not stored yet: ids of keys with the minute in milliseconds.
    pub fn unstored_uses(&self) -> Vec<(String, u64)> {
        let keys = self.read();
        let uses = keys.iter().map(|(id, known)| {
            let used_at = known.used_at.load(Ordering::Relaxed);
            (id, used_at, known.stored_use.load(Ordering::Relaxed))
        });
        uses.filter(|(_, used_at, stored)| used_at > stored)
            .map(|(id, used_at, _)| (id.clone(), used_at))
            .collect()
    }

    /// Notes that uses are stored.
    pub fn uses_stored(&self, uses: &[(String, u64)]) {
        let keys = self.read();
        for (id, used_at) in uses {
            if let Some(known) = keys.get(id) {
                known.stored_use.fetch_max(*used_at, Ordering::Relaxed);
            }
        }
    }

    /// The clock of Redis in milliseconds, as far as this process knows it.
    fn now_ms(&self) -> u64 {
        let now = self.clock_offset_ms.load(Ordering::Relaxed) + self.elapsed_ms();
        u64::try_from(now).unwrap_or_default()
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, KnownKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, KnownKey>> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a key in, or the one that was there before, where that is from a later change. The last use is the later one
/// of the two.
fn insert(keys: &mut HashMap<String, KnownKey>, known: KnownKey, before: Option<KnownKey>) {
    let mut kept = known;
    if let Some(before) = before {
        kept.used_at.fetch_max(before.used_at.load(Ordering::Relaxed), Ordering::Relaxed);
        kept.stored_use.fetch_max(before.stored_use.load(Ordering::Relaxed), Ordering::Relaxed);
        if before.revision > kept.revision {
            kept = before;
        }
    }
    keys.insert(kept.principal.key_id.to_string(), kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{CallerKey, ScopeSet, SpaceSet};

    fn ring() -> (KeyRing, CallerKey) {
        let root = CallerKey::generate().unwrap();
        let space = Id::try_from("keys".to_owned()).unwrap();
        (KeyRing::new(space, root.digest()), root)
    }

    fn known(key: &CallerKey, revision: u64) -> KnownKey {
        let principal = Principal::new(key.id(), "n", ScopeSet::new(["*"]), SpaceSet::all());
        KnownKey::new(principal, revision, key.digest(), 0)
    }

    fn is_let_in(ring: &KeyRing, key: &CallerKey) -> bool {
        ring.check(PresentedKey::read(key.text()).unwrap()).is_ok()
    }

    #[test]
    fn a_key_works_until_its_end() {
        let (ring, root) = ring();
        let (key, old) = (CallerKey::generate().unwrap(), CallerKey::generate().unwrap());
        assert!(is_let_in(&ring, &root));
        let refusal = ring.check(PresentedKey::read(key.text()).unwrap()).unwrap_err();
        assert_eq!(refusal, KeyRefusal::NotLoaded);
        let mut entry = known(&key, 1);
        entry.expires_at = Some(1100);
        entry.previous = Some((old.digest(), 1050));
        ring.replace(1, vec![entry]);
        let is_let_in_at = |key: &CallerKey, now_ms| {
            ring.check_at(PresentedKey::read(key.text()).unwrap(), now_ms).is_ok()
        };
        let other = CallerKey::generate_for(key.id()).unwrap();
        assert!(is_let_in_at(&key, 1099) && !is_let_in_at(&key, 1100));
        assert!(!is_let_in_at(&other, 1000) && !is_let_in_at(&old, 1000));
    }

    #[test]
    fn the_secret_before_a_rotation_works_for_the_overlap() {
        let (ring, _) = ring();
        let key = CallerKey::generate().unwrap();
        let new = CallerKey::generate_for(key.id()).unwrap();
        let mut entry = known(&new, 2);
        entry.previous = Some((key.digest(), 5050));
        ring.replace(2, vec![entry]);
        let is_let_in_at = |key: &CallerKey, now_ms| {
            ring.check_at(PresentedKey::read(key.text()).unwrap(), now_ms).is_ok()
        };
        assert!(is_let_in_at(&key, 5049) && !is_let_in_at(&key, 5050));
        assert!(is_let_in_at(&new, 5049) && is_let_in_at(&new, 5050));
    }

    #[test]
    fn an_older_change_does_not_undo_a_later_one() {
        let (ring, _) = ring();
        let (one, two) = (CallerKey::generate().unwrap(), CallerKey::generate().unwrap());
        ring.replace(1, vec![known(&one, 1)]);
        let mut disabled = known(&one, 2);
        disabled.is_enabled = false;
        ring.put(disabled);
        ring.put(known(&two, 3));
        // A scan that began before both changes.
        ring.replace(1, vec![known(&one, 1)]);
        assert!(!is_let_in(&ring, &one) && is_let_in(&ring, &two));
        // And one that began after them: the second key is gone.
        ring.replace(4, vec![known(&one, 4)]);
        assert!(is_let_in(&ring, &one) && !is_let_in(&ring, &two));
    }

    #[test]
    fn a_use_is_told_to_the_minute_until_it_is_stored() {
        let (ring, _) = ring();
        let key = CallerKey::generate().unwrap();
        ring.set_clock(10 * MINUTE_MS + 59_000);
        ring.replace(1, vec![known(&key, 1)]);
        assert!(ring.unstored_uses().is_empty());
        assert!(is_let_in(&ring, &key));
        let uses = ring.unstored_uses();
        assert_eq!(uses, [(key.id().to_owned(), 10 * MINUTE_MS)]);
        ring.uses_stored(&uses);
        assert!(is_let_in(&ring, &key));
        assert!(ring.unstored_uses().is_empty());
        ring.replace(2, vec![known(&key, 2)]);
        assert!(ring.unstored_uses().is_empty());
    }
}
