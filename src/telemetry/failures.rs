//! Failures in the log, a bounded number of lines a second: the first of a kind in full, and then once a
//! second how many there were. `api` reports the failures of calls, the sweeper its own.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Mutex, PoisonError},
};

/// A failure to be logged.
#[derive(Debug)]
pub struct LoggedFailure<'a> {
    /// True for a fault of the service, which is an error in the log; anything else is a warning.
    pub is_fault: bool,
    /// The problem code that was answered.
    pub code: &'static str,
    /// The reason behind it, which callers are not told.
    pub cause: String,
    /// The id of the request; empty for what no request has caused.
    pub request_id: &'a str,
    /// The trace of the caller, if there is one.
    pub trace_id: Option<&'a str>,
    /// The part of the request that failed, such as `line 7`; empty for the whole of it.
    pub part: fmt::Arguments<'a>,
}

/// Failures are of one kind if they have the same code and cause. More kinds than this in one second are
/// logged under their code alone.
const MAX_KINDS: usize = 100;

/// The most request ids that the line of a second names for one kind.
const MAX_NAMED: usize = 100;

/// What has happened of a kind since the last line about it.
#[derive(Default)]
struct Repeats {
    /// That of its code.
    is_fault: bool,
    count: u64,
    /// The requests, as far as there is room, each once.
    request_ids: Vec<String>,
}

/// By code and cause: the kinds of the last seconds.
static KINDS: Mutex<BTreeMap<(&'static str, String), Repeats>> = Mutex::new(BTreeMap::new());

/// Logs a failure that is the first of its kind, and counts any other for [`log_repeats`]. The level `debug`
/// has a line for each.
pub fn log_failure(failure: &LoggedFailure) {
    let LoggedFailure { is_fault, code, cause, request_id, trace_id, part } = failure;
    match (is_first(failure), is_fault) {
        (true, true) => {
            tracing::error!(request_id, trace_id, code, cause, %part, "an operation failed");
        }
        (true, false) => {
            tracing::warn!(request_id, trace_id, code, cause, %part, "no answer of the store");
        }
        (false, _) => {
            tracing::debug!(request_id, trace_id, code, cause, %part, "an operation failed as others did");
        }
    }
}

/// Returns true if the log has no line about this kind of failure from the last second; otherwise counts it.
fn is_first(failure: &LoggedFailure) -> bool {
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut kind = (failure.code, failure.cause.clone());
    if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
        kind.1 = "several causes".to_owned();
    }
    let Some(repeats) = kinds.get_mut(&kind) else {
        kinds.insert(kind, Repeats { is_fault: failure.is_fault, ..Repeats::default() });
        return true;
    };
    repeats.count += 1;
    let is_known = repeats.request_ids.last().is_some_and(|last| last == failure.request_id);
    if repeats.request_ids.len() < MAX_NAMED && !is_known && !failure.request_id.is_empty() {
        repeats.request_ids.push(failure.request_id.to_owned());
    }
    false
}

/// Logs one line for each kind that has been counted since the last time: how many there were, and the ids
/// of the first 100 requests. A kind that has not happened since is forgotten, so its next failure is logged
/// in full. `run_upkeep` calls this every second, and the end of the program once more.
pub fn log_repeats() {
    let mut counted = Vec::new();
    KINDS.lock().unwrap_or_else(PoisonError::into_inner).retain(|kind, repeats| {
        let (count, request_ids) =
            (mem::take(&mut repeats.count), mem::take(&mut repeats.request_ids));
        if count > 0 {
            counted.push((kind.clone(), repeats.is_fault, count, request_ids));
        }
        count > 0
    });
    for ((code, cause), is_fault, count, request_ids) in counted {
        let request_ids = request_ids.join(" ");
        match is_fault {
            true => tracing::error!(count, code, cause, request_ids, "more operations failed"),
            false => tracing::warn!(
                count,
                code,
                cause,
                request_ids,
                "no answer of the store, more often"
            ),
        }
    }
}
