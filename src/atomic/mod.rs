//! Several commands of the domains as one: all of them happen or none does.
//!
//! `run` has the one operation; `app` serves its route.

mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// The endpoints of this module.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run))
}
