//! Several commands as one: all of them happen or none does.

mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::store::Store;

/// The calls of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run))
}
