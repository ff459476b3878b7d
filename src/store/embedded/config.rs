//! The configuration of the embedded server, which it reads from its standard input.

use std::path::Path;

/// Returns the configuration: a unix socket in `folder` and no port, every write on disk before it is
/// acknowledged, and no eviction.
pub(super) fn configuration(folder: &Path) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.display().to_string().replace('"', "\\\""));
    let socket = quoted(&folder.join("redis.sock"));
    let dir = quoted(folder);
    format!(
        "port 0\nunixsocket {socket}\nunixsocketperm 600\ndir {dir}\ndaemonize no\n\
         appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n"
    )
}
