//! Problem codes of callers' own scripts, for the calls under `/scripts`.

use crate::types::code_table;

code_table! {
    SCRIPT_INVALID "script_invalid" 422 final "Script does not compile"
        "The source does not compile at line {diagnostics/0/line}: {diagnostics/0/message}."
        "The server cannot compile the source. `diagnostics` has the place and the reason. Nothing was registered."
    SCRIPT_NOT_FOUND "script_not_found" 404 final "No such script"
        "There is no script {name}."
        "The space has no script of this name, or it was deleted. `GET /scripts` lists the scripts of the space."
    SCRIPT_VERSION_NOT_FOUND "script_version_not_found" 404 final "No such version"
        "The script {name} has no version {version}."
        "The script never had this version, or it was one of the oldest: the newest 20 are kept."
    SCRIPT_ERROR "script_error" 422 final "Script failed"
        "The script {name} failed: {message}."
        "The script ended with an error. `kind`, `line` and `source_line` say where and why. `effects` is `none` if it had written nothing before; otherwise what it had written stays."
    KEY_NOT_ALLOWED "key_not_allowed" 422 final "Key outside the space"
        "The script {name} ran {command} on a key that is no data key of the space."
        "A script may touch the data keys of its space and no others, however it comes by the name. It gets whole names in KEYS; a name that it makes must begin with one of them. `effects` says whether it had written before."
    SCRIPT_TIMEOUT "script_timeout" 504 final "Script ran for too long"
        "The script {name} ran for more than {timeout_ms} ms."
        "The script was not done at its timeout. One that has written nothing was killed, and `killed` is true. One that has written cannot be killed: the server answers nobody until the script ends by itself, or until the server is ended without saving (`SHUTDOWN NOSAVE`, or a kill of its process), which also discards what the script wrote."
    SCRIPT_NOT_KILLABLE "script_not_killable" 409 final "Script cannot be killed"
        "The running script has written, so the server does not end it."
        "To end a script that has written would leave half of its work. Wait until it ends, or end the server without saving (`SHUTDOWN NOSAVE`, or a kill of its process), which also discards what the script wrote."
    TRACE_UNAVAILABLE "trace_unavailable" 501 final "No debugger"
        "The server gives no debugger to this service: {reason}."
        "A trace needs the debugger of Redis, which the server or the rights of its user do not provide. That of Valkey 9 stops the scripts of all callers, so it is not used. The other calls work."
}
