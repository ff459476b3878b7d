//! The whole service as one router: the endpoints of all modules, the OpenAPI document, Swagger UI and the
//! console, and the middleware around them. `cli::serve` and the tests build it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method},
    middleware::map_response_with_state,
    response::Redirect,
    routing::{MethodRouter, get},
};
use serde_json::Value;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        AccessControl, AccessSettings, AllowedHosts, Observation, Problem, ShutdownGate, middleware,
    },
    atomic,
    auth::Requirement,
    batch, bulk, console, docs,
    domains::{DOMAINS, expirables},
    monitoring,
    openapi::{self, RequiredAccess, required_access},
    problems,
    ratelimit::{self, HeaderForm},
    store::{Library, Store},
    telemetry::{self, CallStatistics},
    transactions,
    types::codes,
};

pub use problems::problem_codes;

/// Settings of the router.
#[derive(Clone, Default)]
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
    /// The check of callers' keys; `None` to take every call without one.
    pub access: Option<AccessSettings>,
    /// The hosts that requests may name; `None` for any.
    pub hosts: Option<AllowedHosts>,
    /// Origins of web pages whose scripts may call the service from a browser; `*` for any, empty for none.
    pub cors_origins: Vec<HeaderValue>,
}

/// Builds the router of the whole service.
pub fn app(store: Store, gate: ShutdownGate, settings: &RouterSettings) -> Router {
    register_counters();
    let base = settings.base_path.as_str();
    let (router, document) = routes(gate.clone()).split_for_parts();
    let operations = required_access(&document);
    let access = settings.access.clone().map(|keys| access_control(keys, &operations, base));
    access.into_iter().for_each(|access| gate.require_keys(access));
    let operations = operations.into_iter().filter(is_observed).map(|operation| {
        (operation.method, format!("{base}{}", operation.path), operation.operation)
    });
    let operations: Vec<_> = operations.collect();
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
        .with_observation(observation)
        .with_hosts(settings.hosts.clone());
    let router = router
        .fallback(async || Problem::from(codes::ROUTE_NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::from(codes::METHOD_NOT_ALLOWED))
        .layer(map_response_with_state(settings.limit_headers, ratelimit::add_headers))
        .layer(CatchPanicLayer::custom(middleware::panicked));
    let router = middleware::around(router, gate);
    match settings.cors_origins.as_slice() {
        [] => router,
        origins => router.layer(cors(origins)),
    }
}

/// Lets scripts of these origins call the service from a browser, and read what headers tell.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let names = |names: &[&'static str]| -> Vec<HeaderName> {
        names.iter().copied().map(HeaderName::from_static).collect()
    };
    let origin = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().cloned()),
    };
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods(methods)
        .allow_headers(names(&CORS_REQUEST_HEADERS))
        .expose_headers(names(&CORS_ANSWER_HEADERS))
        .max_age(Duration::from_secs(600))
}

/// Headers that a script may send.
const CORS_REQUEST_HEADERS: [&str; 10] = [
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "lockstep-guard",
    "lockstep-space",
    "prefer",
    "traceparent",
    "x-request-id",
];

/// Headers that a script may read.
const CORS_ANSWER_HEADERS: [&str; 8] = [
    "etag",
    "idempotent-replayed",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

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
    let results = ["hit", "stale", "miss"].into_iter();
    telemetry::register_counter("lockstep_cache_gets_total", "result", results);
    let reasons = ["lapsed", "refused"].into_iter();
    telemetry::register_counter("lockstep_cache_leases_lost_total", "reason", reasons);
    let directions = ["below", "above"].into_iter();
    telemetry::register_counter("lockstep_low_stock_crossings_total", "direction", directions);
}

/// True for an operation whose calls are counted: all but those of the service itself, and `POST /bulk`, each line of
/// which is a call.
fn is_observed(operation: &RequiredAccess) -> bool {
    let own = ["monitoring/", "problems/", "bulk/", "cache/stats"];
    !own.iter().any(|own| operation.operation.starts_with(own))
}

/// Paths of static pages, and of what leads to them.
const OPEN_PATHS: [&str; 9] = [
    "",
    "/",
    "/openapi.json",
    "/docs",
    "/docs/",
    "/docs/{*name}",
    "/console",
    "/console/",
    "/console/{*name}",
];

/// The check of callers' keys, with the requirement of every route. An operation without one, which
/// `tests/contracts.rs` would find, and a route that is not here need the scope `*`.
fn access_control(
    settings: AccessSettings,
    operations: &[RequiredAccess],
    base: &str,
) -> Arc<AccessControl> {
    let mut access = AccessControl::new(settings);
    for RequiredAccess { method, path, operation, requirement } in operations {
        let requirement = requirement.clone().unwrap_or(Requirement::Everything);
        if operation == "ratelimit/authorize" {
            for path in ratelimit::AUTHORIZE_PATHS {
                access.add(None, format!("{base}{path}"), None, requirement.clone());
            }
        }
        access.add(Some(method.clone()), format!("{base}{path}"), Some(operation), requirement);
    }
    for path in OPEN_PATHS {
        access.add(None, format!("{base}{path}"), None, Requirement::Open);
    }
    Arc::new(access)
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
