//! Whole numbers that many change at once, within bounds.

mod batch;
pub mod codes;
mod decrement;
mod delete;
mod get;
mod increment;
mod reset;
mod set;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{CommandEntry, Problem},
    store::{Invocation, Store},
    types::{Count, Id, Invalid, Ttl},
};

pub use codes::CODES;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(increment::increment))
        .routes(routes!(decrement::decrement))
        .routes(routes!(set::set))
        .routes(routes!(reset::reset))
        .routes(routes!(batch::batch))
        .routes(routes!(get::get, delete::delete))
}

/// Its commands.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<increment::Increment>(),
    CommandEntry::of::<decrement::Decrement>(),
    CommandEntry::of::<set::Set>(),
    CommandEntry::of::<reset::Reset>(),
    CommandEntry::of::<delete::Delete>(),
    CommandEntry::of::<batch::Batch>(),
];

/// Words that are paths of this domain, and so cannot be the name of a counter.
const RESERVED: [&str; 5] = ["increment", "decrement", "set", "reset", "batch"];

/// A counter that may be called that.
fn checked(counter: Id, pointer: &str) -> Result<Id, Problem> {
    if RESERVED.contains(&counter.as_str()) {
        let detail = format!("The id {counter} is a word of this service.");
        return Err(Problem::invalid(&Invalid::new("invalid_id", detail), pointer));
    }
    Ok(counter)
}

fn bind_counter<'a>(invocation: &'a mut Invocation, counter: &Id) -> &'a mut Invocation {
    invocation.key("counter_key", "counter", counter)
}

/// A counter, changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "counter": "downloads", "value": 42, "previous": 41, "applied": 1 }))]
pub struct Changed {
    /// What the caller calls it.
    pub counter: Id,
    /// What it has now.
    pub value: i64,
    /// What it had before.
    pub previous: i64,
    /// What has come to it, or gone where this is below zero: `value - previous`.
    pub applied: i64,
}

/// What a script tells of a change.
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

/// What a change makes of a counter's time to live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TtlMode {
    /// It stays as it is; a new counter is given it.
    #[default]
    Keep,
    /// It begins anew with every change.
    Refresh,
    /// It is given to a counter that has none.
    IfNone,
}

/// What becomes of a change that would pass a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OnBound {
    /// Nothing.
    #[default]
    Reject,
    /// It goes as far as the bound.
    Saturate,
}

/// How far, how long, and what at the bound: the same for both directions.
pub struct Change {
    counter: Id,
    by: Count,
    bound: Option<Count>,
    initial: Count,
    ttl_ms: Option<Ttl>,
    ttl_mode: TtlMode,
    on_bound: OnBound,
}

impl Change {
    fn check(self) -> Result<Change, Problem> {
        let refuse = |detail, pointer| {
            Err(Problem::invalid(&Invalid::new("validation_failed", detail), pointer))
        };
        if self.by < Count::of(1) {
            return refuse(
                "A step is at least 1; the other direction has a call of its own.",
                "/by",
            );
        }
        if self.ttl_ms.is_none() && self.ttl_mode != TtlMode::Keep {
            return refuse("This ttl_mode needs a ttl_ms.", "/ttl_ms");
        }
        Ok(Change { counter: checked(self.counter, "/counter")?, ..self })
    }

    fn bind(&self, bound: &'static str, invocation: &mut Invocation) {
        bind_counter(invocation, &self.counter)
            .arg("counter_name", &self.counter)
            .arg("by", self.by)
            .arg(bound, self.bound.map_or(String::new(), |bound| bound.to_string()))
            .arg("initial", self.initial)
            .arg("ttl_ms", self.ttl_ms.map_or(String::new(), |ttl| ttl.to_string()))
            .arg("ttl_mode", self.ttl_mode)
            .arg("on_bound", self.on_bound);
    }
}
