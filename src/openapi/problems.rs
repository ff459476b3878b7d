//! The problems in the document: a schema and an example for every code, and the responses of an
//! operation that refer to them.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{headers, members::member, pascal_case};
use crate::{
    problems::problem_codes,
    store::{Field, Library},
    types::{Code, codes},
};

/// Members that every problem can have, whatever its code.
const OF_ANY_CODE: [&str; 3] = ["errors", "operation_index", "operation"];

/// Adds the codes to `components`, and the members and an example of those that operations `use`.
pub(super) fn add_components(components: &mut Value, used: &BTreeSet<String>) {
    let lines = problem_codes().iter().map(|code| format!("- `{}`: {}", code.code, code.title));
    components["schemas"]["ProblemCode"] = json!({
        "type": "string",
        "description": format!(
            "Code of a problem. `GET /problems` explains each. More codes can come.\n\n{}",
            lines.collect::<Vec<_>>().join("\n")
        ),
        "enum": problem_codes().iter().map(|code| code.code).collect::<Vec<_>>(),
    });
    let general = &mut components["schemas"]["Problem"];
    for name in OF_ANY_CODE {
        general["properties"][name] = member("", name).map(|row| row.schema()).unwrap_or_default();
    }
    general["properties"]["code"] = json!({
        "$ref": "#/components/schemas/ProblemCode", "description": "The code that programs compare."
    });
    general["additionalProperties"] = true.into();
    for code in problem_codes().iter().filter(|code| used.contains(code.code)) {
        let schema = schema(code, &components["schemas"]["Problem"]);
        components["schemas"][schema_name(code)] = schema;
        components["examples"][code.code] =
            json!({ "summary": code.title, "value": example(code) });
    }
}

/// The name of a code's schema, such as `InsufficientFundsProblem`.
fn schema_name(code: &Code) -> String {
    pascal_case(code.code) + "Problem"
}

/// The schema of a code: the members of every problem, and its own. It repeats the former, because
/// generators of clients differ in what they make of `allOf`.
fn schema(code: &Code, general: &Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "description": code.explanation,
        "required": general["required"],
        "properties": general["properties"],
        "additionalProperties": true,
    });
    schema["properties"]["code"] = json!({
        "type": "string", "const": code.code, "description": "The code that programs compare."
    });
    let own = own_members(code);
    for (name, is_required) in &own {
        let row = member(code.code, name).map(|row| row.schema());
        schema["properties"][name] =
            row.unwrap_or_else(|| json!({ "description": format!("Member `{name}`.") }));
        if let Some(required) = schema["required"].as_array_mut().filter(|_| *is_required) {
            required.push(name.as_str().into());
        }
    }
    schema
}

/// The members that a code has beside those of every problem, each with whether it is always there.
fn own_members(code: &Code) -> BTreeMap<String, bool> {
    // The service itself gives a code of every call too, and knows less than a script.
    let is_general = codes::CODES.contains(code) && *code != codes::VERSION_MISMATCH;
    let library = Library::embedded();
    let replies = || library.iter().filter_map(|script| script.header.replies.get(code.code));
    let mut members = BTreeMap::new();
    for field in replies().flatten() {
        let has_it = |fields: &[Field]| fields.iter().any(|other| other.name == field.name);
        let always = !is_general && replies().all(|fields| has_it(fields));
        members.insert(field.name.clone(), always);
    }
    members.extend(code.placeholders().map(|name| (name.to_owned(), !is_general)));
    let located = [codes::VALIDATION_FAILED, codes::UNKNOWN_FIELD];
    if located.contains(code) {
        members.insert("errors".to_owned(), true);
    }
    if *code == codes::NOT_DURABLE {
        members.extend([("replicas".to_owned(), false), ("required".to_owned(), true)]);
    }
    if code.code == "rate_limited" {
        members.insert("decided_by".to_owned(), false);
    }
    if *code == codes::INVALID_ID {
        members.extend(["header", "parameter"].map(|name| (name.to_owned(), false)));
    }
    members
}

/// A problem of that code, as a caller gets it.
fn example(code: &Code) -> Value {
    let unknown = [codes::OUTCOME_UNKNOWN, codes::NOT_DURABLE].contains(code);
    let in_sentence: Vec<&str> = code.placeholders().collect();
    let mut own = own_members(code);
    own.retain(|name, always| *always || in_sentence.contains(&name.as_str()));
    let value = |name: &str| member(code.code, name).map(|row| row.example()).unwrap_or_default();
    let members: Map<String, Value> =
        own.into_keys().map(|name| (name.clone(), value(&name))).collect();
    let detail = match members.get("errors").map(|errors| &errors[0]) {
        Some(Value::Object(error)) => format!(
            "At {}: {}",
            error["pointer"].as_str().unwrap_or_default(),
            error["detail"].as_str().unwrap_or_default()
        ),
        _ => code.render(&members),
    };
    let mut problem = json!({
        "type": format!("/problems/{}", code.code),
        "title": code.title,
        "status": code.status,
        "detail": detail,
        "code": code.code,
        "request_id": "0199f6c2-8f7a-7c31-9d4e-52a1b7f0c6aa",
        "retryable": code.retryable,
        "outcome": if unknown { "unknown" } else { "not_applied" },
    });
    if let Some(all) = problem.as_object_mut() {
        all.extend(members);
    }
    problem
}

/// Adds to an operation the responses with these problem codes, one response a status.
pub(super) fn add_responses(operation: &mut Value, codes: &BTreeSet<String>, is_command: bool) {
    let mut by_status: BTreeMap<u16, Vec<&Code>> = BTreeMap::new();
    for code in problem_codes().iter().filter(|code| codes.contains(code.code)) {
        by_status.entry(code.status).or_default().push(code);
    }
    let refuses = by_status.keys().any(|status| (400..500).contains(status));
    for (status, codes) in by_status {
        let declared = &mut operation["responses"][status.to_string()];
        let mut problems = response(status, &codes, is_command);
        // The operation itself may say something of the status.
        if let (Some(own), Some(codes)) =
            (declared["description"].as_str(), problems["description"].as_str())
        {
            problems["description"] = format!("- {own}\n{codes}").into();
        }
        *declared = problems;
    }
    if !refuses {
        operation["responses"]["4XX"] = json!({
            "description": "The request as such was refused, whatever it asks for.",
            "headers": headers::of_problems(400, &[], false),
            "content": { "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" }
            } },
        });
    }
}

fn response(status: u16, codes: &[&Code], is_command: bool) -> Value {
    let lines = codes.iter().map(|code| format!("- `{}`: {}", code.code, code.title));
    let name = |code: &Code| format!("#/components/schemas/{}", schema_name(code));
    let schema = match codes {
        [code] => json!({ "$ref": name(code) }),
        _ => json!({
            "oneOf": codes.iter().map(|code| json!({ "$ref": name(code) })).collect::<Vec<_>>(),
            "discriminator": {
                "propertyName": "code",
                "mapping": codes.iter().map(|code| (code.code, name(code))).collect::<BTreeMap<_, _>>(),
            },
        }),
    };
    let example = |code: &Code| json!({ "$ref": format!("#/components/examples/{}", code.code) });
    json!({
        "description": lines.collect::<Vec<_>>().join("\n"),
        "headers": headers::of_problems(status, codes, is_command),
        "content": { "application/problem+json": {
            "schema": schema,
            "examples": codes.iter().map(|code| (code.code, example(code))).collect::<BTreeMap<_, _>>(),
        } },
    })
}

/// Moves the responses that several operations share to `components`: of each status the one that most
/// operations have, and every other one with a single code.
pub(super) fn share_responses(document: &mut Value) {
    let mut uses: Vec<(Value, usize)> = Vec::new();
    for response in problem_responses(document) {
        match uses.iter_mut().find(|(known, _)| known == response) {
            Some((_, count)) => *count += 1,
            None => uses.push((response.clone(), 1)),
        }
    }
    uses.retain(|(_, count)| *count > 1);
    uses.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut shared: Vec<(String, Value)> = Vec::new();
    for (response, _) in uses {
        let is_free = |name: &String| shared.iter().all(|(other, _)| other != name);
        if let Some(name) = names(&response).into_iter().find(is_free) {
            shared.push((name, response));
        }
    }
    for response in problem_responses(document) {
        if let Some((name, _)) = shared.iter().find(|(_, known)| known == response) {
            *response = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
    shared.sort_by(|(one, _), (other, _)| one.cmp(other));
    document["components"]["responses"] = Value::Object(shared.into_iter().collect());
}

fn problem_responses(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    super::operations(document)
        .filter_map(|(_, operation)| operation["responses"].as_object_mut())
        .flatten()
        .map(|(_, response)| response)
        .filter(|response| response["content"]["application/problem+json"].is_object())
}

/// The names that a response may have in `components`, the best one first.
fn names(response: &Value) -> Vec<String> {
    let examples = &response["content"]["application/problem+json"]["examples"];
    let codes: Vec<&str> =
        examples.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    if codes.is_empty() {
        return vec!["Refused".to_owned()];
    }
    if let [code] = codes[..] {
        return vec![pascal_case(code), pascal_case(code) + "OfRead"];
    }
    let status = problem_codes().iter().find(|code| codes.contains(&code.code));
    let status = status.and_then(|code| StatusCode::from_u16(code.status).ok());
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    let reason = pascal_case(&reason.replace(' ', "_"));
    vec![reason.clone(), reason + "OfRead"]
}
