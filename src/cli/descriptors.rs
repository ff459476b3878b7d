//! File descriptors: as many as the service needs, or fewer connections of callers. `serve` calls it before
//! it listens.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptors for what is no connection: the listener, standard streams, the embedded server's pipes,
/// the runtime, and connections that are being replaced.
const OTHER_DESCRIPTORS: u64 = 32;

/// Raises the limit of the process to what `max_connections` of callers on each of `listeners` and
/// `store_connections` to Redis need, and returns how many connections of callers each listener may have. Without a place for Redis' own, callers could
/// keep the service from ever reaching it again.
///
/// # Errors
///
/// The sentence for a limit that has no place for any caller.
pub(super) fn fit_connections(
    max_connections: u64,
    listeners: u64,
    store_connections: u64,
) -> Result<u64, String> {
    let reserved = store_connections.saturating_add(OTHER_DESCRIPTORS);
    let wanted = max_connections.saturating_mul(listeners);
    let limit = raise_limit(wanted.saturating_add(reserved));
    let room = limit.saturating_sub(reserved) / listeners.max(1);
    if room == 0 {
        return Err(format!(
            "the limit of open files is {limit}, and {reserved} are needed beside those of callers: raise it \
             (ulimit -n), or lower --store-transactions"
        ));
    }
    if room < max_connections {
        tracing::warn!(
            open_files = limit,
            max_connections = room,
            "the limit of open files allows fewer connections than --max-connections"
        );
    }
    Ok(room.min(max_connections))
}

/// Raises the soft limit to `needed`, as far as the hard limit goes, and returns what it is then.
fn raise_limit(needed: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current.unwrap_or(u64::MAX);
    let wanted = needed.min(maximum.unwrap_or(u64::MAX));
    if current >= wanted {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(_) => current,
    }
}
