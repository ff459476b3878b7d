//! The whole service as one router: the endpoints of all modules, the OpenAPI document and Swagger
//! UI, and the middleware around them. `cli::serve` and the tests build it.

use axum::{
    Json, Router,
    http::{HeaderValue, header},
    middleware::{from_fn_with_state, map_response},
    response::{Redirect, Response},
    routing::{MethodRouter, get},
};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    api::{Problem, ShutdownGate, middleware},
    atomic, batch, bulk,
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
    let router = router.with_state(store).merge(documentation(openapi::complete(document, base)));
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

/// The OpenAPI document and Swagger UI.
///
/// Their links are relative, so that they work behind a gateway that strips a prefix of the path, of
/// which the service knows nothing. A server URL of the document is relative to the document too.
fn documentation(mut document: Value) -> Router {
    document["servers"] = json!([{ "url": "." }]);
    let swagger = SwaggerUi::new("/")
        .config(Config::from("../openapi.json").try_it_out_enabled(true).deep_linking(true));
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        .nest("/docs/", swagger.into())
        .layer(map_response(async |mut response: Response| {
            // They change only with the version of the service.
            let an_hour = HeaderValue::from_static("public, max-age=3600");
            if response.status().is_success() {
                response.headers_mut().insert(header::CACHE_CONTROL, an_hour);
            }
            response
        }))
        .route("/docs", redirect("docs/"))
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
