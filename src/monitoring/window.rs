//! Windows of calls in Redis: their keys, fields and lives, and the space that they live in. `flush` writes them,
//! `transactions` reads them, and `lockstep show` prints them.

use serde_json::{Value, json};

use crate::{
    store::{Context, KeyContent, KeyKind, json_record},
    telemetry::CallWindow,
    types::{Id, Invalid},
};

/// A minute in milliseconds.
pub const MINUTE_MS: u64 = 60_000;

/// An hour in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The kind of the sorted set of failures.
pub const FAILURES: &str = "failures";

/// The kinds of keys that this module writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: Span::Minute.kind(), content: KeyContent::Records(field_name, window_to_json) },
    KeyKind { kind: Span::Hour.kind(), content: KeyContent::Records(field_name, window_to_json) },
    KeyKind { kind: FAILURES, content: KeyContent::SortedSet(failure_text) },
];

/// The length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    Minute,
    Hour,
}

impl Span {
    /// The kind of its keys, `lockstep:{monitoring}:<kind>:<number>`. The number counts minutes or hours since 1970.
    pub const fn kind(self) -> &'static str {
        match self {
            Span::Minute => "calls_minute",
            Span::Hour => "calls_hour",
        }
    }

    /// Its length in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Span::Minute => MINUTE_MS,
            Span::Hour => HOUR_MS,
        }
    }

    /// The time for which its windows are kept, in milliseconds: minutes for a little more than a day, hours for
    /// a little more than a week.
    pub const fn ttl_ms(self) -> u64 {
        match self {
            Span::Minute => 26 * HOUR_MS,
            Span::Hour => (7 * 24 + 2) * HOUR_MS,
        }
    }
}

/// A minute or an hour, by the clock of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    pub span: Span,
    /// Minutes or hours since 1970.
    pub number: u64,
}

impl Period {
    /// The period of this length at a moment in milliseconds since 1970.
    pub fn at(span: Span, ms: u64) -> Period {
        Period { span, number: ms / span.ms() }
    }

    /// Its first moment, in milliseconds since 1970.
    pub fn start_ms(self) -> u64 {
        self.number * self.span.ms()
    }
}

/// The context of what this module keeps. All of it has one hash tag. A space of callers that has this name
/// shares the tag and nothing else, because no kind of its keys is one of these.
///
/// # Errors
///
/// Never: the name is an id.
pub fn context() -> Result<Context, Invalid> {
    Id::try_from("monitoring".to_owned()).map(Context::of_space)
}

/// The operation of a field, `<process>:<number>:<operation>`.
pub fn operation_of(field: &str) -> Option<&str> {
    field.splitn(3, ':').nth(2)
}

fn field_name(bytes: &[u8]) -> Option<String> {
    let field = str::from_utf8(bytes).ok()?;
    operation_of(field).map(|_| field.to_owned())
}

fn window_to_json(bytes: &[u8]) -> Option<Value> {
    let window = CallWindow::decode(bytes)?;
    Some(json!({
        "count": window.count(),
        "succeeded": window.succeeded,
        "refused": window.refused,
        "failed": window.failed,
        "conflicts": window.conflicts,
        "mean_ms": window.durations.mean_ms(),
        "max_ms": window.durations.max_ms(),
    }))
}

fn failure_text(bytes: &[u8]) -> Option<String> {
    json_record(bytes).map(|failure| failure.to_string())
}
