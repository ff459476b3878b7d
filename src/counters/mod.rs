//! Counters: whole numbers that many callers change at the same time, within bounds.
//!
//! Each operation has a file of its own. This file has the routes that `app` serves, the commands
//! that `domains` offers to `/atomic` and `/bulk`, and what several operations share.

mod batch;
pub mod codes;
mod decrement;
mod delete;
mod get;
mod increment;
mod reset;
mod set;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{CommandEntry, Problem, ReservedNames},
    store::{Invocation, KeyContent, KeyKind, Store, json_record},
    types::{Count, Id, Ttl},
};

pub use codes::CODES;

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(increment::increment))
        .routes(routes!(decrement::decrement))
        .routes(routes!(set::set))
        .routes(routes!(reset::reset))
        .routes(routes!(batch::batch))
        .routes(routes!(get::get, delete::delete))
}

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] =
    &[KeyKind { kind: "counter", content: KeyContent::Record(json_record) }];

/// The commands of this domain that `/atomic` and `/bulk` can run.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<increment::Increment>(),
    CommandEntry::of::<decrement::Decrement>(),
    CommandEntry::of::<set::SetCounter>(),
    CommandEntry::of::<reset::ResetCounter>(),
    CommandEntry::of::<delete::DeleteCounter>(),
    CommandEntry::of::<batch::CounterBatch>(),
];

/// Returns the name of a counter unless a path hides it; the problem points at `pointer`.
fn reject_reserved(counter: Id, pointer: &str) -> Result<Id, Problem> {
    static RESERVED: LazyLock<ReservedNames> =
        LazyLock::new(|| ReservedNames::beside(router(), "/counters/{counter}"));
    RESERVED.check(counter, pointer)
}

/// Binds the key of a counter, `lockstep:{space}:counter:<name>`.
fn bind_counter<'a>(invocation: &'a mut Invocation, counter: &Id) -> &'a mut Invocation {
    invocation.key("counter_key", "counter", counter)
}

/// A counter after a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "counter": "downloads", "value": 42, "previous": 41, "applied": 1 }))]
pub struct Changed {
    /// Name of the counter.
    pub counter: Id,
    /// Value after the change.
    pub value: i64,
    /// Value before the change. For a counter that did not exist this is `initial`, or 0.
    pub previous: i64,
    /// Difference that the change made: `value - previous`. It is negative where the counter went
    /// down.
    pub applied: i64,
}

/// The reply of the scripts that change one counter.
#[derive(Debug, Deserialize)]
pub struct ChangedReply {
    counter: Id,
    value: i64,
    previous: i64,
}

impl ChangedReply {
    fn into_changed(self) -> Changed {
        let ChangedReply { counter, value, previous } = self;
        Changed { counter, value, previous, applied: value - previous }
    }
}

/// The effect of a change on the time to live of a counter. `keep` gives `ttl_ms` to a new counter only,
/// `refresh` sets it with every change, and `if_none` gives it to a counter that has no end.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TtlMode {
    /// A new counter gets `ttl_ms`; an existing one keeps the end it has.
    #[default]
    Keep,
    /// Every change makes the counter end `ttl_ms` from now.
    Refresh,
    /// A counter that has no end gets `ttl_ms`; any other keeps the end it has.
    IfNone,
}

/// The treatment of a change that would pass the bound. `reject` refuses it, and `saturate` applies as
/// much of it as fits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OnBound {
    /// The change is refused, and nothing is written.
    #[default]
    Reject,
    /// The counter is moved to the bound and no further.
    Saturate,
}

/// The values that an increment and a decrement share; `bound` is the `max` of the one and the `min`
/// of the other.
pub struct BoundedStep {
    counter: Id,
    by: Count,
    bound: Option<Count>,
    initial: Count,
    ttl_ms: Option<Ttl>,
    ttl_mode: TtlMode,
    on_bound: OnBound,
}

impl BoundedStep {
    /// Refuses a step below 1, a `ttl_mode` that lacks its `ttl_ms`, and a reserved name.
    fn check(self) -> Result<BoundedStep, Problem> {
        if self.by < Count::of(1) {
            let detail = "A step is at least 1; the other direction has a call of its own.";
            return Err(Problem::validation("/by", detail));
        }
        if self.ttl_ms.is_none() && self.ttl_mode != TtlMode::Keep {
            return Err(Problem::validation("/ttl_ms", "This ttl_mode needs a ttl_ms."));
        }
        Ok(BoundedStep { counter: reject_reserved(self.counter, "/counter")?, ..self })
    }

    /// Binds the keys and arguments that both scripts take; `bound_name` is `max` or `min`.
    fn bind(&self, bound_name: &'static str, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter)
            .arg("counter_name", &self.counter)
            .arg("by", self.by)
            .arg(bound_name, self.bound.map_or(String::new(), |bound| bound.to_string()))
            .arg("initial", self.initial)
            .arg("ttl_ms", self.ttl_ms.map_or(String::new(), |ttl| ttl.to_string()))
            .arg("ttl_mode", self.ttl_mode)
            .arg("on_bound", self.on_bound);
    }
}
