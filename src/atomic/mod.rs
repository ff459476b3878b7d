//! Several commands of the domains as one: all of them happen or none does.
//!
//! `run` has the one operation; `app` serves its route.

mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// Returns the routes of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run))
}
