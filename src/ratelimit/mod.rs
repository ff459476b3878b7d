//! Rate limits that are exact however many instances of the service and of its callers there are.
//!
//! Each operation has a file of its own; `rule` has the algorithms and their limits, `limit` the rule that a
//! call is about, `decision` the answer and `headers` its headers; `decide` is what `rls` asks. `memory` is
//! what this process remembers beside the store: `known_policies` and `denials`. This file has the routes that
//! `app` serves, and the commands that `domains` offers to `/atomic` and `/bulk`.

mod authorize;
mod check;
mod check_all;
pub mod codes;
mod decide;
mod decision;
mod delete_policy;
mod denials;
mod get_policy;
mod headers;
mod known_policies;
mod limit;
mod list_policies;
mod memory;
mod peek;
mod put_policy;
mod record;
mod refund;
mod release;
mod reset;
mod rule;

use axum::routing::any;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::CommandEntry, store::Store};

pub use check_all::MAX_CHECKS;
pub use codes::CODES;
pub use decide::{Decided, PolicyCheck, decide};
pub use headers::{HeaderForm, LimitState, add_headers};
pub use known_policies::follow_policies;
pub use record::KEY_KINDS;

/// The paths at which Envoy asks for `GET /ratelimit/authorize`: it appends the path of its caller's request.
pub const AUTHORIZE_PATHS: [&str; 2] = ["/ratelimit/authorize/", "/ratelimit/authorize/{*path}"];

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(check::check))
        .routes(routes!(check_all::check_all))
        .routes(routes!(peek::peek))
        .routes(routes!(authorize::authorize))
        .route(AUTHORIZE_PATHS[0], any(authorize::authorize_path))
        .route(AUTHORIZE_PATHS[1], any(authorize::authorize_path))
        .routes(routes!(refund::refund))
        .routes(routes!(reset::reset))
        .routes(routes!(release::release))
        .routes(routes!(list_policies::list_policies))
        .routes(routes!(
            put_policy::put_policy,
            get_policy::get_policy,
            delete_policy::delete_policy
        ))
}

/// The commands of this domain that `/atomic` and `/bulk` can run.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<check::CheckRequest>(),
    CommandEntry::of::<check_all::CheckAll>(),
    CommandEntry::of::<refund::Refund>(),
    CommandEntry::of::<reset::ResetLimit>(),
    CommandEntry::of::<release::ReleaseLease>(),
];
