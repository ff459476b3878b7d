//! Rate limits that are exact however many instances of the service and of its callers there are.
//!
//! Each operation has a file of its own; `rule` has the algorithms and their limits, `limit` the rule that a
//! call is about, and `decision` the answer and its headers; `decide` is what `rls` asks. This file has the
//! routes that `app` serves, and the commands that `domains` offers to `/atomic` and `/bulk`.

mod check;
mod check_all;
pub mod codes;
mod decide;
mod decision;
mod delete_policy;
mod get_policy;
mod limit;
mod list_policies;
mod peek;
mod put_policy;
mod record;
mod refund;
mod release;
mod reset;
mod rule;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::CommandEntry, store::Store};

pub use check_all::MAX_CHECKS;
pub use codes::CODES;
pub use decide::{Decided, PolicyCheck, decide};
pub use decision::HeaderState;
pub use record::KEY_KINDS;

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(check::check))
        .routes(routes!(check_all::check_all))
        .routes(routes!(peek::peek))
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
