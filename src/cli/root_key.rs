//! The root key of a service, and with it all that checks callers' keys. `serve` calls it.

use std::{fs, sync::Arc};

use crate::{
    api::AccessSettings,
    auth::{KeyDigest, KeyRing, PresentedKey},
    config::Serve,
    keys,
};

/// The check of callers' keys, where the settings have a root key.
///
/// # Errors
///
/// The sentence that says why the file has none.
pub(super) fn access(settings: &Serve) -> Result<Option<AccessSettings>, String> {
    let root = match (&settings.root_key_file, settings.root_key_sha256) {
        (Some(file), _) => {
            let text = fs::read_to_string(file).map_err(|error| {
                format!("cannot read --root-key-file {}: {error}", file.display())
            })?;
            let key = PresentedKey::read(text.trim()).ok_or_else(|| {
                let file = file.display();
                format!("{file} of --root-key-file has no key: `lockstep keys create` prints one")
            })?;
            Some(key.digest())
        }
        (None, digest) => digest,
    };
    let access = |root: KeyDigest| AccessSettings {
        ring: Arc::new(KeyRing::new(keys::space(), root)),
        failures_per_minute: settings.auth_failures,
        trusted_proxies: settings.trusted_proxies.clone(),
    };
    Ok(root.map(access))
}
