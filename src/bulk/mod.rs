//! Commands by the stream: each line on its own, answered in order.

mod lines;
mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::ShutdownGate, store::Store};

/// The calls of this domain. `gate` tells when the service is about to end.
pub fn router(gate: ShutdownGate) -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run)).layer(axum::Extension(gate))
}
