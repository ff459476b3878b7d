//! `keys/load`: reads keys for the check of calls, with the digests of their secrets. It has no endpoint; `follow` runs
//! it.

use serde::Deserialize;

use super::{CODES, KEY, description::KeyDescription};
use crate::{
    api::{ListReply, Listed, ScanStep},
    auth::{KeyDigest, KnownKey, Principal, ScopeSet, SpaceSet},
    store::{Invocation, Operation},
    types::{Code, Timestamp},
};

/// Reads the keys that a step names, and lists the ids of the next.
pub struct LoadKeys(pub ScanStep);

/// A key as the check of calls needs it.
#[derive(Debug, Deserialize)]
pub struct LoadedKey {
    #[serde(flatten)]
    description: KeyDescription,
    digest: String,
    previous: String,
    revision: u64,
}

impl Operation for LoadKeys {
    const NAME: &'static str = "keys/load";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<LoadedKey>;

    fn bind(&self, invocation: &mut Invocation) {
        bind_step(invocation, &self.0);
    }
}

/// Binds what a scan of keys takes.
pub fn bind_step(invocation: &mut Invocation, step: &ScanStep) {
    invocation.key("index_key", "index", "caller_keys");
    for key_id in &step.ids {
        invocation.key("key_record", KEY, key_id);
    }
    invocation.arg("after", step.after()).arg("count", step.count);
    for key_id in &step.ids {
        invocation.arg("key_id", key_id);
    }
}

impl Listed for LoadedKey {
    fn id(&self) -> &str {
        &self.description.key_id
    }
}

impl LoadedKey {
    /// The key as the ring of this process has it.
    ///
    /// # Errors
    ///
    /// The sentence that says why it cannot be read.
    pub fn known(self) -> Result<KnownKey, String> {
        let LoadedKey { description, digest, previous, revision } = self;
        let scopes = ScopeSet::new(description.scopes.iter().map(String::as_str));
        let spaces = SpaceSet::new(description.spaces.iter().map(String::as_str));
        let spaces = spaces.map_err(|(_, invalid)| invalid.detail)?;
        let principal = Principal::new(&description.key_id, &description.name, scopes, spaces);
        let used_at = description.last_used_at.map_or(0, Timestamp::as_ms);
        let digest = KeyDigest::from_hex(&digest)?;
        let mut known = KnownKey::new(principal, revision, digest, used_at);
        if let Some(until) = description.previous_until {
            known.previous = Some((KeyDigest::from_hex(&previous)?, until.as_ms()));
        }
        known.expires_at = description.expires_at.map(Timestamp::as_ms);
        known.is_enabled = !description.disabled && description.revoked_at.is_none();
        Ok(known)
    }
}
