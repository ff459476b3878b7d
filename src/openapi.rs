//! The OpenAPI document. `utoipa` writes paths and schemas from the handlers; this adds what is the
//! same for every operation: its headers and its problems.
//!
//! The problems of an operation come from where it is declared: the refusals in the header of its
//! script, and `x-refusals` among the `extensions` of its `#[utoipa::path]`, which names the codes
//! that the handler decides itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use utoipa::{
    OpenApi,
    openapi::{self, tag::TagBuilder},
};

use crate::{
    api::ProblemBody,
    domains::{self, DOMAINS},
    problems::problem_codes,
    store::Library,
    types::{Code, codes},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockstep",
        description = "Atomic business operations on Redis or Valkey. Each call happens as a whole or not at all.\n\n\
            Every call takes the header `Lockstep-Space` (default `main`), and every command takes `Idempotency-Key`: \
            a call that is repeated under the same key changes nothing and gets the first answer again, with the \
            header `Idempotent-Replayed: true`. Every error is a problem (RFC 9457); `GET /problems` explains the \
            codes.",
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "atomic", description = "Several commands, all or none"),
        (name = "bulk", description = "Streams of commands, each on its own"),
        (name = "batch", description = "Plain data keys, each command on its own"),
        (name = "transactions", description = "Plain data keys, all or none, with optimistic locking by WATCH"),
        (name = "monitoring", description = "Health and metrics of the service"),
        (name = "problems", description = "The meaning of every problem code"),
    ),
)]
struct Document;

/// The document before any endpoint is added: its title, and the tags in their order.
pub fn base() -> openapi::OpenApi {
    let mut document = Document::openapi();
    let tag = |domain: &domains::Domain| {
        TagBuilder::new().name(domain.name).description(Some(domain.description)).build()
    };
    let domains = DOMAINS.iter().map(tag);
    document.tags = Some(domains.chain(document.tags.into_iter().flatten()).collect());
    document
}

/// The finished document of a service whose paths begin with `base_path`, from the one that has all
/// endpoints.
pub fn complete(document: openapi::OpenApi, base_path: &str) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    if !base_path.is_empty() {
        document["servers"] = json!([{ "url": base_path }]);
    }
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, methods) in paths {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            let is_command = method != "get";
            add_headers(operation, is_command);
            let codes = codes_of(operation, is_command, &schemas);
            add_problems(operation, &codes);
            add_validators(operation, method == "get");
            // Links into Swagger UI and names in generated clients cannot have a slash.
            let name = operation["operationId"].as_str().unwrap_or_default().replace('/', "_");
            operation["operationId"] = name.into();
        }
    }
    let names: Vec<&str> = domains::commands().map(|command| command.name).collect();
    for schema in ["AtomicOperation", "BulkLine"] {
        document["components"]["schemas"][schema]["properties"]["operation"]["enum"] = json!(names);
    }
    document
}

/// Adds the headers that [`crate::api::Caller`] reads.
fn add_headers(operation: &mut Value, is_command: bool) {
    let tag = operation["tags"][0].as_str().unwrap_or_default();
    if ["monitoring", "problems"].contains(&tag) {
        return;
    }
    let mut headers = vec![json!({
        "name": "Lockstep-Space",
        "in": "header",
        "description": "The space that the call is about. Spaces share nothing.",
        "schema": { "type": "string", "default": "main" },
    })];
    // A line of a stream has a key of its own.
    if is_command && tag != "bulk" {
        headers.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "1 to 255 visible ASCII characters. A call that is repeated under the same key has no second effect.",
            "schema": { "type": "string" },
        }));
    }
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.extend(headers),
        None => operation["parameters"] = Value::Array(headers),
    }
}

/// The bodies of answers that have an `ETag`.
const WITH_VERSION: [&str; 4] = ["Account", "ClosedAccount", "Product", "Adjusted"];

/// The domains in which a 201 says where the new resource is.
const WITH_LOCATION: [&str; 2] = ["accounts", "inventory"];

/// Adds the headers `ETag` and `Location` to the answers that have them, and to a read with an `ETag` what
/// it answers a caller that has a copy.
fn add_validators(operation: &mut Value, is_read: bool) {
    let string =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let mut has_version = false;
    for (status, response) in responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        let body = &response["content"]["application/json"]["schema"]["$ref"];
        let body = body.as_str().and_then(|reference| reference.rsplit('/').next());
        if body.is_some_and(|body| WITH_VERSION.contains(&body)) {
            has_version = true;
            response["headers"]["ETag"] = string(
                "The version, with what is held or reserved behind it: `\"7\"`, `\"7-20.00\"`.",
            );
        }
        if status == "201" && WITH_LOCATION.contains(&tag.as_str()) {
            response["headers"]["Location"] = string("The path of what has been made.");
        }
    }
    if is_read && has_version {
        responses
            .insert("304".to_owned(), json!({ "description": "The caller has this version." }));
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.push(json!({
                "name": "If-None-Match",
                "in": "header",
                "description": "The ETag of a copy. Where it is still good, the answer is 304 without a body.",
                "schema": { "type": "string" },
            }));
        }
    }
}

/// Problems of every operation that asks Redis.
const OF_OPERATIONS: &[Code] = &[
    codes::INVALID_ID,
    codes::OVERLOADED,
    codes::SHUTTING_DOWN,
    codes::STORE_UNAVAILABLE,
    codes::STORE_BUSY,
    codes::STORE_LOADING,
    codes::INTERNAL_ERROR,
];

/// Problems of every operation that has a body or writes.
const OF_COMMANDS: &[Code] = &[
    codes::MALFORMED_JSON,
    codes::VALIDATION_FAILED,
    codes::UNKNOWN_FIELD,
    codes::UNSUPPORTED_MEDIA_TYPE,
    codes::PAYLOAD_TOO_LARGE,
    codes::REQUEST_TIMEOUT,
    codes::IDEMPOTENCY_KEY_INVALID,
    codes::IDEMPOTENCY_KEY_REUSED,
    codes::STORE_READONLY,
    codes::STORE_OUT_OF_MEMORY,
    codes::OUTCOME_UNKNOWN,
];

/// Problems of a body that has an amount.
const OF_AMOUNTS: &[Code] = &[
    codes::INVALID_AMOUNT,
    codes::AMOUNT_NOT_POSITIVE,
    codes::AMOUNT_SCALE_EXCEEDED,
    codes::AMOUNT_OUT_OF_RANGE,
];

/// The problem codes that an operation can give. Takes `x-refusals` out of it.
fn codes_of(operation: &mut Value, is_command: bool, schemas: &Value) -> BTreeSet<String> {
    let declared = operation.as_object_mut().and_then(|members| members.remove("x-refusals"));
    let mut codes: BTreeSet<String> =
        serde_json::from_value(declared.unwrap_or_else(|| json!([]))).unwrap_or_default();
    let mut add = |more: &[Code]| codes.extend(more.iter().map(|code| code.code.to_owned()));
    let name = operation["operationId"].as_str().unwrap_or_default();
    let library = Library::embedded();
    let Some(script) = library.iter().find(|script| script.name == name) else { return codes };
    add(OF_OPERATIONS);
    if is_command {
        add(OF_COMMANDS);
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let body = body.as_str().and_then(|reference| reference.rsplit('/').next());
        let fields = schemas[body.unwrap_or_default()].to_string();
        if fields.contains("schemas/Amount") {
            add(OF_AMOUNTS);
        }
        if fields.contains("schemas/Quantity") || fields.contains("schemas/Line") {
            add(&[codes::QUANTITY_NOT_POSITIVE]);
        }
    }
    codes.extend(script.header.refusals().map(str::to_owned));
    if script.header.runs_operations {
        for command in domains::commands() {
            let script = library.script(command.name);
            codes.extend(script.header.refusals().map(str::to_owned));
        }
    }
    codes
}

/// Adds a response for each status of the codes, with an example for each code.
fn add_problems(operation: &mut Value, codes: &BTreeSet<String>) {
    let known = || problem_codes().iter().filter(|code| codes.contains(code.code));
    debug_assert_eq!(known().count(), codes.len(), "an unknown code among {codes:?}");
    for code in known() {
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

/// A problem of that code, in which the name of each member stands for its value.
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
    for member in code.placeholders() {
        problem[member] = format!("{{{member}}}").into();
    }
    problem
}
