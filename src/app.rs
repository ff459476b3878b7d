//! Merges the domains into one router, and writes the OpenAPI document.

use std::sync::LazyLock;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path},
    middleware,
    response::Redirect,
    routing::get,
};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    accounts,
    api::{
        Problem, ProblemBody, ShutdownGate,
        middleware::{handle, panicked},
    },
    atomic, batch, bulk, commands, counters, data, inventory, locks, monitoring, ratelimit,
    store::{Library, Store},
    transactions,
    types::{Code, codes},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockstep",
        description = "Atomic business operations on Redis or Valkey. Each call happens whole or not at all.\n\n\
            Every command takes the headers `Lockstep-Space` (default `main`) and `Idempotency-Key`: a repeat under \
            the same key answers the first answer again, with `Idempotent-Replayed: true`, and changes nothing. \
            Every error is a problem after RFC 9457; `GET /problems` explains the codes.",
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "accounts", description = "Money, in double entry"),
        (name = "inventory", description = "Stock and reservations"),
        (name = "locks", description = "Leases with fencing tokens"),
        (name = "ratelimit", description = "Exact quotas"),
        (name = "counters", description = "Whole numbers within bounds"),
        (name = "atomic", description = "Several commands, all or none"),
        (name = "bulk", description = "Streams of commands, each on its own"),
        (name = "batch", description = "Plain data keys"),
        (name = "transactions", description = "Plain data keys, all or none, by WATCH"),
        (name = "monitoring", description = "The service itself"),
        (name = "problems", description = "What every problem code means"),
    ),
)]
struct Document;

/// What is the same for every request.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// In front of every path, such as `/lockstep`.
    pub base_path: String,
    /// Largest body that is read.
    pub body_limit_bytes: usize,
}

/// The whole service.
pub fn app(store: Store, gate: ShutdownGate, settings: &Settings) -> Router {
    let base = settings.base_path.as_str();
    let (router, _) = routes(gate.clone()).split_for_parts();
    let document = document(base);
    let swagger = SwaggerUi::new("/docs").config(
        Config::from(format!("{base}/openapi.json")).try_it_out_enabled(true).deep_linking(true),
    );
    let router = router
        .with_state(store)
        .route("/openapi.json", get(async move || Json(document)))
        .merge(swagger);
    let home = format!("{base}/docs/");
    let router = match base {
        "" => router.route("/", get(async move || Redirect::temporary(&home))),
        _ => Router::new()
            .route(base, get(async move || Redirect::temporary(&home)))
            .nest(base, router),
    };
    router
        .fallback(async || Problem::from(codes::ROUTE_NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::from(codes::METHOD_NOT_ALLOWED))
        .layer(DefaultBodyLimit::max(settings.body_limit_bytes))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(gate.with_base_path(base), handle))
}

fn routes(gate: ShutdownGate) -> OpenApiRouter<Store> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(accounts::router())
        .merge(inventory::router())
        .merge(locks::router())
        .merge(ratelimit::router())
        .merge(counters::router())
        .merge(atomic::router())
        .merge(bulk::router(gate.clone()))
        .merge(batch::router())
        .merge(transactions::router())
        .merge(monitoring::router(gate))
        .routes(routes!(list_problems))
        .routes(routes!(explain_problem))
}

/// Every problem code there is.
pub fn problem_codes() -> &'static [Code] {
    static ALL: LazyLock<Vec<Code>> = LazyLock::new(|| {
        [
            codes::CODES,
            accounts::CODES,
            inventory::CODES,
            locks::CODES,
            ratelimit::CODES,
            counters::CODES,
            data::CODES,
        ]
        .concat()
    });
    &ALL
}

/// All problem codes.
#[derive(Debug, serde::Serialize, ToSchema)]
struct Problems {
    problems: &'static [Code],
}

/// List the problem codes
#[utoipa::path(
    get,
    path = "/problems",
    operation_id = "problems/list",
    tag = "problems",
    responses((status = OK, body = Problems, description = "All codes.")),
)]
async fn list_problems() -> Json<Problems> {
    Json(Problems { problems: problem_codes() })
}

/// Explain a problem code
#[utoipa::path(
    get,
    path = "/problems/{code}",
    operation_id = "problems/explain",
    tag = "problems",
    params(("code" = String, Path, example = "insufficient_funds")),
    responses((status = OK, body = Code, description = "What it means.")),
)]
async fn explain_problem(Path(word): Path<String>) -> Result<Json<Code>, Problem> {
    let code = problem_codes().iter().find(|code| code.code == word);
    code.copied().map(Json).ok_or_else(|| codes::ROUTE_NOT_FOUND.into())
}

/// The OpenAPI document, with the problem codes of every operation as their scripts' headers name
/// them.
pub fn document(base_path: &str) -> Value {
    let document = routes(ShutdownGate::default()).into_openapi();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    if !base_path.is_empty() {
        document["servers"] = json!([{ "url": base_path }]);
    }
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, methods) in paths {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            let command = method != "get";
            describe_headers(operation, command);
            describe_problems(operation, command, &schemas);
        }
    }
    let names: Vec<&str> = commands::all().map(|command| command.name).collect();
    for schema in ["AtomicOperation", "BulkLine"] {
        document["components"]["schemas"][schema]["properties"]["operation"]["enum"] = json!(names);
    }
    document
}

fn describe_headers(operation: &mut Value, command: bool) {
    let tag = operation["tags"][0].as_str().unwrap_or_default();
    if ["monitoring", "problems"].contains(&tag) {
        return;
    }
    let mut headers = vec![json!({
        "name": "Lockstep-Space",
        "in": "header",
        "description": "The space of the call",
        "schema": { "type": "string", "default": "main" },
    })];
    if command && tag != "bulk" {
        headers.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "1 to 255 visible ASCII characters; a repeat under the same key has no second effect",
            "schema": { "type": "string" },
        }));
    }
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.extend(headers),
        None => operation["parameters"] = Value::Array(headers),
    }
}

fn describe_problems(operation: &mut Value, command: bool, schemas: &Value) {
    let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let mut words: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    let script = Library::embedded().iter().find(|script| script.name == name);
    if let Some(script) = script {
        add(&script.header.refusals().collect::<Vec<_>>());
        if script.header.runs_operations {
            for command in commands::all() {
                let script = Library::embedded().script(command.name);
                add(&script.header.refusals().collect::<Vec<_>>());
            }
        }
        add(&["invalid_id", "overloaded", "shutting_down", "store_unavailable", "store_busy"]);
        add(&["store_loading", "internal_error"]);
    }
    if script.is_some() && command {
        add(&["malformed_json", "validation_failed", "unknown_field", "unsupported_media_type"]);
        add(&["payload_too_large", "request_timeout", "idempotency_key_invalid"]);
        add(&[
            "idempotency_key_reused",
            "store_readonly",
            "store_out_of_memory",
            "outcome_unknown",
        ]);
        let body =
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
        let body = body.and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
        let text = schemas[body].to_string();
        if text.contains("schemas/Amount") {
            add(&["invalid_amount", "amount_not_positive", "amount_scale_exceeded"]);
            add(&["amount_out_of_range"]);
        }
        if text.contains("schemas/Quantity") || text.contains("schemas/Line") {
            add(&["quantity_not_positive"]);
        }
    }
    match name.as_str() {
        "monitoring/readyz" => add(&["shutting_down", "store_unavailable", "store_loading"]),
        "problems/explain" => add(&["route_not_found"]),
        _ => {}
    }
    if let Some(Value::Array(more)) =
        operation["x-refusals"].take().as_array().cloned().map(Value::Array)
    {
        add(&more.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    }
    if let Some(operation) = operation.as_object_mut() {
        operation.remove("x-refusals");
    }
    words.sort_unstable();
    words.dedup();
    for code in problem_codes().iter().filter(|code| words.iter().any(|word| word == code.code)) {
        let response = &mut operation["responses"][code.status.to_string()];
        let line = format!("- `{}`: {}", code.code, code.title);
        let description = match response["description"].as_str() {
            Some(others) => format!("{others}\n{line}"),
            None => line,
        };
        response["description"] = description.into();
        let content = &mut response["content"]["application/problem+json"];
        content["schema"] = json!({ "$ref": "#/components/schemas/Problem" });
        content["examples"][code.code] = json!({ "summary": code.title, "value": example(code) });
    }
}

/// A problem of that code, with the names of its members in the places of their values.
fn example(code: &Code) -> Value {
    let unknown = code.code == codes::OUTCOME_UNKNOWN.code;
    let mut problem = json!({
        "type": format!("/problems/{}", code.code),
        "title": code.title,
        "status": code.status,
        "detail": code.detail_template,
        "code": code.code,
        "request_id": "0199f6c2-8f7a-7c31-9d4e-52a1b7f0c6aa",
        "retryable": code.retryable,
        "outcome": if unknown { "unknown" } else { "not_applied" },
    });
    for place in code.placeholders() {
        problem[place] = format!("{{{place}}}").into();
    }
    problem
}
