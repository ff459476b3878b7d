//! Plain data keys, many at once, each for itself.

mod get;
mod run;
mod set;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(run::run))
        .routes(routes!(set::set))
        .routes(routes!(get::get))
}

/// The most keys that are read or written in one step.
const MAX_KEYS: usize = 1000;
