//! Optimistic transactions over plain data keys: watch, read, judge, and run all or nothing.

mod guard;
mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run))
}
