//! Start errors: each reason why the embedded server does not start, in one sentence for the operator.

use std::{io, path::PathBuf};

use super::LONGEST_SOCKET_PATH;

/// The reason why the embedded server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither server is installed.
    #[error(
        "found neither valkey-server nor redis-server in PATH: install one (on Debian: apt-get \
         install redis-server), or give --redis-url"
    )]
    NoServer,
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {cause}", path.display())]
    DataDir {
        /// The directory, as given.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// Another service holds the lock of the data directory.
    #[error(
        "the data directory {} is in use by another lockstep: stop that one, or give another \
         --data-dir",
        .0.display()
    )]
    Locked(PathBuf),
    /// The path of the server's socket would be longer than the kernel takes.
    #[error(
        "the data directory's path {} is too long for a unix socket in it ({LONGEST_SOCKET_PATH} \
         bytes): give a shorter --data-dir",
        .0.display()
    )]
    PathTooLong(PathBuf),
    /// The disk has too little room.
    #[error("the disk of the data directory {} is full: {free} bytes are left", path.display())]
    DiskFull {
        /// The data directory.
        path: PathBuf,
        /// The bytes that are free.
        free: u64,
    },
    /// There are append-only files without the manifest that lists them.
    #[error(
        "{} has append-only files and no appendonly.aof.manifest, so the server would begin an empty store: \
         restore the whole directory from a backup",
        .0.display()
    )]
    NoManifest(PathBuf),
    /// There is a snapshot and no append-only file.
    #[error(
        "the data directory {} has a dump.rdb and no appendonlydir, so the server would begin an empty store: \
         see Backup in docs/operations.md for how to restore a snapshot, or remove the file",
        .0.display()
    )]
    OnlySnapshot(PathBuf),
    /// The server ended before it was ready.
    #[error("the embedded server did not start; it said: {0}")]
    Died(String),
}
