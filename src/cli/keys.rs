//! `lockstep keys create`: a key for `--root-key-file`, which makes the first of all other keys.

use std::io::{self, Write};

use crate::auth::CallerKey;

/// Prints a new key to standard output, so that the output can be the file, and its SHA-256 to standard error.
pub(super) fn create() -> Result<(), String> {
    let key = CallerKey::generate()?;
    writeln!(io::stdout(), "{}", key.text()).map_err(|error| error.to_string())?;
    eprintln!(
        "This is a root key: start the service with a file of it as --root-key-file, or with\n\
         LOCKSTEP_ROOT_KEY_SHA256={}\n\
         and make all other keys with POST /keys. It is kept nowhere else.",
        key.digest()
    );
    Ok(())
}
