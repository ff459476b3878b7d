//! The whole service as one router: the endpoints of all modules, the OpenAPI document, Swagger UI and the
//! console, and the middleware around them. `cli::serve` and the tests build it.

use axum::{
    Router,
    middleware::from_fn_with_state,
    response::Redirect,
    routing::{MethodRouter, get},
};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Problem, ShutdownGate, middleware},
    atomic, batch, bulk, console, docs,
    domains::DOMAINS,
    monitoring, openapi, problems,
    store::Store,
    transactions,
    types::codes,
};

pub use problems::problem_codes;

/// Settings of the router.
#[derive(Debug, Clone, Default)]
pub struct RouterSettings {
    /// The prefix of every path, such as `/lockstep`; empty for none.
    pub base_path: String,
    /// The largest body in bytes; a larger one is refused with `payload_too_large`.
    pub body_limit_bytes: usize,
}

/// Builds the router of the whole service.
pub fn app(store: Store, gate: ShutdownGate, settings: &RouterSettings) -> Router {
    let base = settings.base_path.as_str();
    let (router, document) = routes(gate.clone()).split_for_parts();
    let document = openapi::complete(document, base);
    let router = router.with_state(store).merge(docs::router(document)).merge(console::router());
    let last = base.rsplit('/').next().unwrap_or_default();
    let router = match base {
        "" => router.route("/", redirect("docs/")),
        _ => Router::new()
            .route(base, redirect(&format!("{last}/docs/")))
            .route(&format!("{base}/"), redirect("docs/"))
            .nest(base, router),
    };
    let gate = gate.with_base_path(base).with_body_limit(settings.body_limit_bytes);
    router
        .fallback(async || Problem::from(codes::ROUTE_NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::from(codes::METHOD_NOT_ALLOWED))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(gate, middleware::handle))
}

/// Redirects to a path relative to that of the request.
fn redirect(to: &str) -> MethodRouter {
    let redirect = Redirect::temporary(to);
    get(async move || redirect)
}

/// All endpoints: those of the domains, and those that combine or describe them.
fn routes(gate: ShutdownGate) -> OpenApiRouter<Store> {
    DOMAINS
        .iter()
        .fold(OpenApiRouter::with_openapi(openapi::base()), |all, domain| {
            all.merge((domain.router)())
        })
        .merge(atomic::router())
        .merge(bulk::router(gate.clone()))
        .merge(batch::router())
        .merge(transactions::router())
        .merge(monitoring::router(gate))
        .merge(problems::router())
}

/// The OpenAPI document of a service whose paths begin with `base_path`, which may be empty.
pub fn document(base_path: &str) -> Value {
    openapi::complete(routes(ShutdownGate::default()).into_openapi(), base_path)
}
