//! The OpenAPI document. `utoipa` writes paths and schemas from the handlers; this adds what is the
//! same for every operation: its headers, its problems, and what the commands of several share.
//!
//! The problems of an operation come from where it is declared: the refusals in the header of its
//! script, and `x-refusals` among the `extensions` of its `#[utoipa::path]`, which names the codes
//! that the handler decides itself.

mod access;
mod commands;
mod headers;
mod members;
mod problems;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::{
    OpenApi,
    openapi::{self, tag::TagBuilder},
};

pub use access::{RequiredAccess, required_access};

use crate::{
    api::ProblemBody,
    bulk::{BulkLine, BulkResult},
    domains::{self, DOMAINS},
    problems::problem_codes,
    store::Library,
    types::{Code, codes},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockstep",
        contact(name = "The maintainers of Lockstep"),
        description = "Atomic business operations on Redis or Valkey. Each call happens as a whole or not at all.\n\n\
            **Begin here.** A new store is empty: there are no accounts and no products. The examples of the calls \
            fit together, so press *Try it out* and *Execute*, one after the other:\n\n\
            1. `POST /accounts` opens the account `alice` with 100.00 USD. Change `alice` to `bob` and execute it \
            again.\n\
            2. `POST /accounts/transfer` moves 2.50 USD from `alice` to `bob`, or refuses. \
            `GET /accounts/{account_id}` shows what came of it.\n\
            3. `POST /inventory/products` adds `espresso-cup`, and `POST /inventory/reserve` holds two of them for \
            `carol` for five minutes.\n\
            4. `POST /atomic` does several of these in one step: all of them or none.\n\n\
            **Every call** takes the header `Lockstep-Space` (default `main`), and every command takes \
            `Idempotency-Key`: a call that is repeated under the same key changes nothing and gets the first answer \
            again, with the header `Idempotent-Replayed: true`. Every error is a problem (RFC 9457); `GET /problems` \
            explains the codes. A code may gain members, and new codes may come: clients ignore members that they do \
            not know.",
    ),
    components(schemas(ProblemBody, BulkLine, BulkResult)),
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
    commands::add_components(&mut document);
    headers::add_components(&mut document["components"]);
    access::add_components(&mut document["components"]);
    let mut used = BTreeSet::new();
    let schemas = document["components"]["schemas"].clone();
    let mut codes_by_name = BTreeMap::new();
    for (is_command, operation) in operations(&mut document) {
        let mut codes = codes_of(operation, is_command, &schemas);
        codes.append(&mut access::describe(operation, !is_command));
        codes_by_name
            .insert(operation["operationId"].as_str().unwrap_or_default().to_owned(), codes);
    }
    add_codes_of_commands(&mut codes_by_name);
    for (is_command, operation) in operations(&mut document) {
        let name = operation["operationId"].as_str().unwrap_or_default();
        let codes = codes_by_name.remove(name).unwrap_or_default();
        debug_assert!(
            codes.iter().all(|code| problem_codes().iter().any(|known| known.code == code)),
            "an unknown code among {codes:?}"
        );
        headers::add_parameters(operation, is_command);
        headers::add_to_answers(operation, is_command, &schemas);
        problems::add_responses(operation, &codes, is_command);
        used.extend(codes);
        // Links into Swagger UI and names in generated clients cannot have a slash.
        let name = operation["operationId"].as_str().unwrap_or_default().replace('/', "_");
        operation["operationId"] = name.into();
    }
    problems::add_components(&mut document["components"], &used);
    problems::share_responses(&mut document);
    commands::describe_stream(&mut document);
    describe_defaults(&mut document["components"]["schemas"]);
    describe_texts(&mut document);
    operations(&mut document).for_each(|(_, operation)| leave_out_null(operation));
    in_reading_order(document, base_path)
}

/// Every operation, with whether it is a command.
fn operations(document: &mut Value) -> impl Iterator<Item = (bool, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let methods = paths.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten());
    methods.map(|(method, operation)| (method != "get", operation))
}

/// Moves the default of each field into its description. Generators of clients make a field with a
/// `default` one that must be given.
fn describe_defaults(schemas: &mut Value) {
    let schemas = schemas.as_object_mut().into_iter().flatten();
    let fields =
        schemas.filter_map(|(_, schema)| schema.get_mut("properties")?.as_object_mut()).flatten();
    for (_, field) in fields {
        let default = field.as_object_mut().and_then(|members| members.shift_remove("default"));
        if let Some(default) = default {
            let description = field["description"].as_str().unwrap_or_default();
            field["description"] = format!("{description} Default: `{default}`.").into();
        }
    }
}

/// Gives the texts of bodies and of query strings, which have a longest length, the pattern that
/// [`crate::types::Text`] holds them to: no control characters.
fn describe_texts(document: &mut Value) {
    let describe = |text: &mut Value| {
        if text.get("maxLength").is_some() && text.get("pattern").is_none() {
            text["pattern"] = r"^[^\u0000-\u001f\u007f-\u009f]*$".into();
        }
    };
    let schemas = document["components"]["schemas"].as_object_mut().into_iter().flatten();
    for (_, schema) in schemas {
        describe(schema);
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
        fields.into_iter().flatten().for_each(|(_, field)| describe(field));
    }
    let parameters = operations(document)
        .filter_map(|(_, operation)| operation.get_mut("parameters")?.as_array_mut());
    parameters.flatten().filter_map(|parameter| parameter.get_mut("schema")).for_each(describe);
}

/// Takes null out of the schemas of parameters: one that need not be there is left out, and has no null.
fn leave_out_null(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let parameters = parameters.into_iter().flatten();
    for schema in parameters.filter_map(|parameter| parameter.get_mut("schema")) {
        for choices in ["type", "oneOf"] {
            let Some(kinds) = schema.get_mut(choices).and_then(Value::as_array_mut) else {
                continue;
            };
            kinds.retain(|kind| *kind != "null" && kind["type"] != "null");
            let [only] = &mut kinds[..] else { continue };
            let only = only.take();
            if choices == "type" {
                schema["type"] = only;
            } else {
                *schema = only;
            }
        }
    }
}

/// The members of the document in the order in which people read them, and the methods of a path with
/// what makes a resource before what reads it.
fn in_reading_order(mut document: Value, base_path: &str) -> Value {
    const METHODS: [&str; 5] = ["post", "get", "put", "patch", "delete"];
    for (_, methods) in document["paths"].as_object_mut().into_iter().flatten() {
        *methods = pick(methods, &METHODS);
    }
    document["servers"] = json!([{ "url": if base_path.is_empty() { "/" } else { base_path } }]);
    pick(&mut document, &["openapi", "info", "servers", "tags", "paths", "components"])
}

/// The members of these names, in this order.
fn pick(object: &mut Value, names: &[&str]) -> Value {
    let taken = names.iter().filter_map(|name| {
        let value = object.get_mut(*name)?.take();
        Some(((*name).to_owned(), value))
    });
    Value::Object(taken.collect::<Map<_, _>>())
}

/// `insufficient_funds` or `accounts/transfer` as a name of components: `InsufficientFunds`.
fn pascal_case(name: &str) -> String {
    let words = name.split(['_', '/', ' ']).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..].to_lowercase()).collect()
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
    codes::STORE_READONLY,
    codes::STORE_OUT_OF_MEMORY,
    codes::OUTCOME_UNKNOWN,
    codes::NOT_DURABLE,
];

/// Problems of every command that the runner runs: it keeps idempotency keys and checks guards.
const OF_RUNNER: &[Code] =
    &[codes::IDEMPOTENCY_KEY_REUSED, codes::STALE_FENCING_TOKEN, codes::LOCK_NOT_HELD];

/// Tags whose operations take no headers of the service, or tell problems otherwise. They declare every problem.
const DECLARING_TAGS: [&str; 3] = ["monitoring", "problems", "bulk"];

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
    let script = Library::embedded().iter().find(|script| script.name == name);
    let tag = operation["tags"][0].as_str().unwrap_or_default();
    if script.is_none() && DECLARING_TAGS.contains(&tag) {
        return codes;
    }
    add(OF_OPERATIONS);
    if is_command {
        add(OF_COMMANDS);
        add(if script.is_some() { OF_RUNNER } else { &[] });
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let body = body.as_str().and_then(|reference| reference.rsplit('/').next());
        let fields = schemas[body.unwrap_or_default()].to_string();
        if fields.contains("schemas/Amount") {
            add(OF_AMOUNTS);
        }
        if fields.contains("schemas/Count\"") {
            add(&[codes::COUNTER_OUT_OF_RANGE]);
        }
        if fields.contains("schemas/Quantity") || fields.contains("schemas/Line") {
            add(&[codes::QUANTITY_NOT_POSITIVE]);
        }
    }
    let refusals = script.into_iter().flat_map(|script| script.header.refusals());
    codes.extend(refusals.map(str::to_owned));
    codes
}

/// An operation that runs others can give the codes of all commands.
fn add_codes_of_commands(codes_by_name: &mut BTreeMap<String, BTreeSet<String>>) {
    let of_commands = domains::commands().filter_map(|command| codes_by_name.get(command.name));
    let of_commands: BTreeSet<String> = of_commands.flatten().cloned().collect();
    for script in Library::embedded().iter().filter(|script| script.header.runs_operations) {
        if let Some(codes) = codes_by_name.get_mut(script.name) {
            codes.extend(of_commands.iter().cloned());
        }
    }
}
