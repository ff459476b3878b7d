//! The data directory: whether it has data that the server will read.
//!
//! A server that finds no manifest of append-only files begins an empty store, whatever else is there. The
//! start refuses that, so that nobody takes an empty store for the one that was restored.

use std::{fs, path::Path};

use super::StartError;

/// Returns true if the directory has data, and false if it has never had any.
///
/// # Errors
///
/// [`StartError::NoManifest`] and [`StartError::OnlySnapshot`] where it has data that the server would not
/// read.
pub(super) fn are_there(folder: &Path) -> Result<bool, StartError> {
    let files = folder.join("appendonlydir");
    // The server turns the single append-only file of a version before 7 into a directory.
    if files.join("appendonly.aof.manifest").exists() || folder.join("appendonly.aof").exists() {
        return Ok(true);
    }
    if fs::read_dir(&files).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StartError::NoManifest(files));
    }
    if folder.join("dump.rdb").exists() {
        return Err(StartError::OnlySnapshot(folder.to_owned()));
    }
    Ok(false)
}
