//! Endpoints for operators, process managers and balancers: probes, metrics, the state of the server, and the
//! statistics of calls, connections and scripts. `app` serves them; `cli::serve` runs the [`Flusher`].
//!
//! Each endpoint has a file of its own; `window` has the form in which statistics are stored.

mod connections;
mod contention;
mod failures;
mod flush;
mod health;
mod metrics;
mod probes;
mod scripts;
mod transactions;
mod window;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::ShutdownGate, store::Store};

pub use flush::Flusher;
pub use window::KEY_KINDS;

/// The endpoints. `readyz` asks `gate` whether the service is shutting down.
pub fn router(gate: ShutdownGate) -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(health::health))
        .routes(routes!(transactions::transactions))
        .routes(routes!(failures::failures))
        .routes(routes!(connections::connections))
        .routes(routes!(scripts::scripts))
        .routes(routes!(contention::contention))
        .layer(axum::Extension(gate))
}
