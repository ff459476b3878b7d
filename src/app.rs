//! The whole service as one router: the endpoints of all modules, the OpenAPI document, Swagger UI and the
//! console, and the middleware around them. `cli::serve` and the tests build it.

use axum::{
    Router,
    http::Method,
    middleware::map_response_with_state,
    response::Redirect,
    routing::{MethodRouter, get},
};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Observation, Problem, ShutdownGate, middleware},
    atomic, batch, bulk, console, docs,
    domains::{DOMAINS, expirables},
    monitoring, openapi, problems,
    ratelimit::{self, HeaderForm},
    store::{Library, Store},
    telemetry::{self, CallStatistics},
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
    /// The form of the headers that tell of rate limits.
    pub limit_headers: HeaderForm,
    /// The statistics that calls go into; `None` to count no calls.
    pub statistics: Option<CallStatistics>,
    /// True to write a line of the log for each call.
    pub access_log: bool,
}

/// Builds the router of the whole service.
pub fn app(store: Store, gate: ShutdownGate, settings: &RouterSettings) -> Router {
    register_counters();
    let base = settings.base_path.as_str();
    let (router, document) = routes(gate.clone()).split_for_parts();
    let operations = observed(&document, base);
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
    let observation =
        Observation::new(settings.statistics.clone(), operations, settings.access_log);
    let gate = gate
        .with_base_path(base)
        .with_body_limit(settings.body_limit_bytes)
        .with_observation(observation);
    let router = router
        .fallback(async || Problem::from(codes::ROUTE_NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::from(codes::METHOD_NOT_ALLOWED))
        .layer(map_response_with_state(settings.limit_headers, ratelimit::add_headers))
        .layer(CatchPanicLayer::custom(middleware::panicked));
    middleware::around(router, gate)
}

/// Lets counters exist before their first event, so that a rate or an alert does not miss it.
fn register_counters() {
    telemetry::prometheus();
    let codes = problem_codes().iter().map(|code| code.code);
    telemetry::register_counter("lockstep_problems_total", "code", codes);
    let operations = Library::embedded().iter().map(|script| script.name);
    telemetry::register_counter("lockstep_script_loads_total", "operation", operations);
    let kinds = expirables().map(|expirable| expirable.resource);
    telemetry::register_counter("lockstep_swept_total", "kind", kinds);
    let deciders = ["local", "on_store_error"].into_iter();
    telemetry::register_counter("lockstep_limits_without_store_total", "by", deciders);
    let directions = ["below", "above"].into_iter();
    telemetry::register_counter("lockstep_low_stock_crossings_total", "direction", directions);
}

/// The operations whose calls are counted, each as method, path and name: all but those of the service itself,
/// and `POST /bulk`, each line of which is a call.
fn observed(document: &OpenApi, base_path: &str) -> Vec<(Method, String, String)> {
    let mut operations = Vec::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::PATCH, &item.patch),
            (Method::DELETE, &item.delete),
        ] {
            let name = operation.as_ref().and_then(|operation| operation.operation_id.as_deref());
            let Some(name) = name else { continue };
            if !["monitoring/", "problems/", "bulk/"].iter().any(|own| name.starts_with(own)) {
                operations.push((method, format!("{base_path}{path}"), name.to_owned()));
            }
        }
    }
    operations
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
