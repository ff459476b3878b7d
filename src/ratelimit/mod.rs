//! Rate limits that are exact however many instances of the service and of its callers there are.
//!
//! `check` has the one operation, and `rule` the algorithms and their limits. This file has the
//! routes that `app` serves, the commands that `commands` offers to `/atomic` and `/bulk`, and the
//! problem codes.

mod check;
mod rule;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::CommandEntry, store::Store, types::Code};

/// Returns the routes of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(check::check))
}

/// The commands of this domain that `/atomic` and `/bulk` can run.
pub const COMMANDS: &[CommandEntry] = &[CommandEntry::of::<check::CheckRequest>()];

/// The problem codes that only calls of this domain answer.
pub const CODES: &[Code] = &[
    Code {
        code: "rate_limited",
        status: 429,
        title: "Limit reached",
        detail_template: "{remaining} of {limit} are left for {key}, and {cost} would be taken: there is room in {retry_after_ms} ms.",
        explanation: "The limit has no room now, and nothing was taken. Waiting `retry_after_ms` is \
                      enough; a millisecond less is not.",
        retryable: true,
    },
    Code {
        code: "cost_exceeds_limit",
        status: 422,
        title: "Cost above the limit",
        detail_template: "A cost of {cost} can never fit into a limit of {limit}.",
        explanation: "The cost is above what the limit ever has at once, so waiting would not help.",
        retryable: false,
    },
];
