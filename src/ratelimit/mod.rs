//! Quotas that are exact, however many instances ask.

mod check;
pub mod codes;
mod rule;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::CommandEntry, store::Store};

pub use codes::CODES;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(check::check))
}

/// Its commands.
pub const COMMANDS: &[CommandEntry] = &[CommandEntry::of::<check::Check>()];
