//! The configuration of the embedded server, which it reads from its standard input.

use std::{fmt::Write, os::unix::ffi::OsStrExt, path::Path};

/// Returns the configuration: a unix socket in `folder` and no port, every write on disk before it is
/// acknowledged, no eviction, and a second
/// after which a script of a caller can be killed.
pub(super) fn configuration(folder: &Path) -> String {
    let socket = quoted(&folder.join("redis.sock"));
    let dir = quoted(folder);
    format!(
        "port 0\nunixsocket {socket}\nunixsocketperm 600\ndir {dir}\ndaemonize no\n\
         appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n\
         busy-reply-threshold 1000\n"
    )
}

/// A path in the double quotes of the server's configuration. Every byte that may mean something there,
/// such as a quote, a backslash or the end of the line, is written by its number.
fn quoted(path: &Path) -> String {
    let mut text = "\"".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_path_is_one_argument_whatever_it_contains() {
        let quoted = |bytes: &[u8]| quoted(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(quoted(b"/var/lib_1/a-b.c"), "\"/var/lib_1/a-b.c\"");
        assert_eq!(quoted(b"/a b\"'\\\n#\xff"), r#""/a\x20b\x22\x27\x5c\x0a\x23\xff""#);
    }
}
