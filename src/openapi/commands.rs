//! The commands of `POST /atomic` and `POST /bulk` in the document: a schema for each command, with the
//! input and the answer of its own endpoint.

use serde_json::{Map, Value, json};

use super::{operations, pascal_case};
use crate::domains;

/// The endpoint of a command.
struct Endpoint {
    /// The name of the command, such as `accounts/transfer`.
    name: &'static str,
    /// The schema of its body, and of what its path takes.
    input: Value,
    /// The schema of the body of its answer.
    answer: Value,
}

/// Replaces the schemas whose `operation` decides what else they have by one of each command.
pub(super) fn add_components(document: &mut Value) {
    let endpoints = endpoints(document);
    let schemas = &mut document["components"]["schemas"];
    split(schemas, "AtomicOperation", "Atomic", "input", &endpoints);
    split(schemas, "BulkLine", "Bulk", "input", &endpoints);
    split(schemas, "AtomicResult", "Atomic", "body", &endpoints);
}

/// Names the schemas of the lines of `POST /bulk`. The bodies themselves are text: generators of clients
/// send and read a body as a whole, and a stream has no end that they could wait for.
pub(super) fn describe_stream(document: &mut Value) {
    let stream = "application/x-ndjson";
    let operation = &mut document["paths"]["/bulk"]["post"];
    let request = operation.pointer_mut("/requestBody/content");
    let lines = |schema: &str| {
        json!({
            "type": "string",
            "contentMediaType": stream,
            "contentSchema": { "$ref": format!("#/components/schemas/{schema}") },
        })
    };
    if let Some(content) = request {
        content[stream]["schema"] = lines("BulkLine");
    }
    if let Some(content) = operation.pointer_mut("/responses/200/content") {
        content[stream]["schema"] = lines("BulkResult");
    }
}

/// Makes the schema `whole` a choice between the schemas of the commands, whose names begin with
/// `prefix`. Their `field` is the input or the answer of the command.
fn split(schemas: &mut Value, whole: &str, prefix: &str, field: &str, endpoints: &[Endpoint]) {
    let mut choices = Map::new();
    for endpoint in endpoints {
        let mut schema = schemas[whole].clone();
        let suffix = if field == "body" { "Result" } else { "" };
        let name = format!("{prefix}{}{suffix}", pascal_case(endpoint.name));
        for member in ["example", "examples"] {
            schema.as_object_mut().and_then(|members| members.remove(member));
        }
        schema["description"] = format!("{} of `{}`.", description(field), endpoint.name).into();
        let operation = &mut schema["properties"]["operation"];
        *operation = json!({
            "type": "string", "const": endpoint.name, "description": "Name of the command."
        });
        let part = if field == "body" { &endpoint.answer } else { &endpoint.input };
        let description = schema["properties"][field]["description"].take();
        schema["properties"][field] = part.clone();
        schema["properties"][field]["description"] = description;
        schemas[&name] = schema;
        choices.insert(endpoint.name.to_owned(), format!("#/components/schemas/{name}").into());
    }
    let references = choices.values().map(|reference| json!({ "$ref": reference }));
    let mut choice = json!({
        "description": schemas[whole]["description"],
        "oneOf": references.collect::<Vec<_>>(),
        "discriminator": { "propertyName": "operation", "mapping": choices },
    });
    if let Some(example) = schemas[whole].get("example") {
        choice["example"] = example.clone();
    }
    schemas[whole] = choice;
}

fn description(field: &str) -> &str {
    if field == "body" { "The answer" } else { "A call" }
}

fn endpoints(document: &mut Value) -> Vec<Endpoint> {
    let by_name: Map<String, Value> = operations(document)
        .map(|(_, operation)| {
            let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
            (name, operation.clone())
        })
        .collect();
    let of_command = |command: &'static crate::api::CommandEntry| {
        let operation = &by_name[command.name];
        Endpoint { name: command.name, input: input(operation), answer: answer(operation) }
    };
    domains::commands()
        .filter(|command| by_name.contains_key(command.name))
        .map(of_command)
        .collect()
}

/// The body of an operation; for one without a body, an object of what its path takes.
fn input(operation: &Value) -> Value {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if body.is_object() {
        return body.clone();
    }
    let in_path = || {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.filter(|parameter| parameter["in"] == "path")
    };
    let property = |parameter: &Value| {
        let mut schema = parameter["schema"].clone();
        schema["description"] = parameter["description"].clone();
        (parameter["name"].as_str().unwrap_or_default().to_owned(), schema)
    };
    json!({
        "type": "object",
        "required": in_path().map(|parameter| &parameter["name"]).collect::<Vec<_>>(),
        "properties": Value::Object(in_path().map(property).collect()),
        "additionalProperties": false,
    })
}

/// The body of the answer of an operation.
fn answer(operation: &Value) -> Value {
    let responses = operation["responses"].as_object().into_iter().flatten();
    let success = responses.filter(|(status, _)| status.starts_with('2'));
    let mut bodies =
        success.map(|(_, response)| &response["content"]["application/json"]["schema"]);
    bodies.next().cloned().unwrap_or_default()
}
