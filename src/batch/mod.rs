//! Plain data keys, many in one call, where each command succeeds or fails on its own.
//!
//! `run` takes commands of any type, `set` and `get` write and read many strings in one step. The
//! commands themselves are those of [`crate::data`]; `app` serves the routes.

mod get;
mod run;
mod set;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// The endpoints of this module.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(run::run))
        .routes(routes!(set::set))
        .routes(routes!(get::get))
}

/// The most keys that `set` writes and `get` reads in one call.
const MAX_KEYS: usize = 1000;
