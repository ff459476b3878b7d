//! Optimistic transactions over plain data keys: watch and read keys, evaluate guards, and run all
//! commands or none.
//!
//! `run` has the one operation, `guard` its conditions; the commands are those of [`crate::data`].

mod guard;
mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// The endpoints of this module.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run))
}
