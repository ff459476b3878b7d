//! The headers of the document: those that [`crate::api::Caller`] reads, and those of answers.

use serde_json::{Map, Value, json};

use crate::types::{Code, codes};

/// Adds the headers to `components`, for [`add_parameters`] and the responses to refer to.
pub(super) fn add_components(components: &mut Value) {
    components["parameters"] = json!({
        "LockstepSpace": {
            "name": "Lockstep-Space",
            "in": "header",
            "description": "The space that the call is about; `main` without it. Spaces share nothing.",
            "required": false,
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$" },
            "example": "main",
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "1 to 255 visible ASCII characters, bare or in double quotes. A call that is \
                repeated under the same key has no second effect.",
            "required": false,
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": 257,
                "pattern": "^([!#-~][!-~]{0,254}|\"[!-~]{1,255}\")$",
            },
        },
        "IfNoneMatch": {
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag of a copy that the caller has, or a list of ETags. Where the answer is still the \
                same, it is 304 without a body.",
            "required": false,
            "schema": { "type": "string" },
        },
        "LockstepGuard": {
            "name": "Lockstep-Guard",
            "in": "header",
            "description": "`lock=NAME;token=FENCING_TOKEN`, up to 16 times or joined by commas: the call has an effect only \
                while the lock is held by the lease with this fencing token. The script that does the work checks it first.",
            "required": false,
            "schema": {
                "type": "string",
                "pattern": "^lock=[A-Za-z0-9][A-Za-z0-9._:@-]{0,127};token=[1-9][0-9]{0,15}$",
            },
        },
    });
    components["headers"] = of_answers();
}

/// The headers of answers.
fn of_answers() -> Value {
    let text = |description: &str, example: &str| {
        json!({
            "description": description, "required": false, "schema": { "type": "string" }, "example": example
        })
    };
    json!({
        "XRequestId": {
            "description": "Id of the request: the one that the caller sent, or a new one. The log has it too.",
            "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
            "example": "0199f6c2-8f7a-7c31-9d4e-52a1b7f0c6aa",
        },
        "IdempotentReplayed": {
            "description": "`true` on the answer to an earlier call under the same `Idempotency-Key`; \
                otherwise there is no such header.",
            "required": false,
            "schema": { "type": "string", "enum": ["true"] },
        },
        "LockstepReplicas": {
            "description": "Number of replicas that have what the call wrote, where the service waits for them \
                (`--wait-replicas`; grants of locks wherever there are replicas).",
            "required": false,
            "schema": { "type": "integer", "minimum": 1 },
            "example": 1,
        },
        "WWWAuthenticate": {
            "description": "`Bearer`: how a caller sends its key.",
            "required": false,
            "schema": { "type": "string", "enum": ["Bearer"] },
        },
        "RetryAfter": {
            "description": "Seconds to wait before the call is sent again.",
            "required": false,
            "schema": { "type": "integer", "minimum": 0 },
            "example": 1,
        },
        "ETag": text(
            "Version of the resource, with what is held or reserved of it behind a hyphen, for `If-Match` and \
                `If-None-Match`.",
            "\"7\""
        ),
        "Location": text("Path of what was made.", "/accounts/alice"),
        "RateLimitPolicy": text(
            "Quota `q` and window `w` in seconds of the limit (draft-ietf-httpapi-ratelimit-headers-10). A service \
                with `--ratelimit-headers legacy` has `X-RateLimit-Limit`, `-Remaining` and `-Reset` instead.",
            "\"default\";q=100;w=60"
        ),
        "RateLimit": text(
            "Remaining units `r`, and seconds `t` until the limit is whole again; after a denial, until the same \
                check fits, as in `Retry-After`.",
            "\"default\";r=99;t=1"
        ),
    })
}

/// Adds the headers that every call of its tag takes.
pub(super) fn add_parameters(operation: &mut Value, is_command: bool) {
    let tag = operation["tags"][0].as_str().unwrap_or_default();
    if ["monitoring", "problems"].contains(&tag) {
        return;
    }
    let mut headers = Vec::new();
    // Keys belong to no space.
    if tag != "keys" {
        headers.push(json!({ "$ref": "#/components/parameters/LockstepSpace" }));
    }
    // A line of a stream has a key of its own.
    if is_command && tag != "bulk" {
        headers.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if is_command {
        headers.push(json!({ "$ref": "#/components/parameters/LockstepGuard" }));
    }
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.extend(headers),
        None => operation["parameters"] = Value::Array(headers),
    }
}

/// Adds to the answers that an operation declares the headers that they have. An answer whose body has
/// a `version` has it as its ETag too.
pub(super) fn add_to_answers(operation: &mut Value, is_command: bool, schemas: &Value) {
    let tag = operation["tags"][0].as_str().unwrap_or_default();
    let is_replayed = is_command && !["monitoring", "problems", "bulk"].contains(&tag);
    let is_limited = tag == "ratelimit";
    let has_place = ["accounts", "inventory", "ratelimit", "scripts", "keys"].contains(&tag);
    // An activation changes a script without a new version of its source.
    // A version of the past never changes.
    let is_past = operation["operationId"] == "scripts/get_version";
    // What is in the cache is no resource whose changes are conditional.
    let is_cached = tag == "cache";
    let version_member = if tag == "scripts" { "revision" } else { "version" };
    let mut has_copies = false;
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let body = response["content"]["application/json"]["schema"]["$ref"].as_str();
        let body = body.and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
        let has_version =
            !is_past && !is_cached && has_member(&schemas[body], version_member, schemas);
        has_copies |= has_version && !is_command;
        let mut headers = references(&[
            ("X-Request-Id", true),
            ("Idempotent-Replayed", is_replayed),
            ("Lockstep-Replicas", is_replayed),
            ("ETag", has_version),
            ("Location", has_place && status == "201"),
            ("RateLimit-Policy", is_limited),
            ("RateLimit", is_limited),
        ]);
        // Those of the endpoint itself come first.
        if let Some(Value::Object(own)) = response.get_mut("headers").map(Value::take) {
            headers.extend(own);
        }
        response["headers"] = Value::Object(headers);
    }
    if has_copies {
        operation["responses"]["304"] = json!({
            "description": "The caller has this state already.",
            "headers": references(&[("X-Request-Id", true), ("ETag", true)]),
        });
        if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            parameters.push(json!({ "$ref": "#/components/parameters/IfNoneMatch" }));
        }
    }
}

/// True for the schema of a body that has a member of this name, of its own or with a schema that it extends.
fn has_member(schema: &Value, name: &str, schemas: &Value) -> bool {
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let extended = parts.map(|part| match part["$ref"].as_str() {
        Some(reference) => &schemas[reference.rsplit('/').next().unwrap_or_default()],
        None => part,
    });
    [schema].into_iter().chain(extended).any(|part| part["properties"][name].is_object())
}

/// The headers of a response with problems of these codes.
pub(super) fn of_problems(status: u16, codes: &[&Code], is_command: bool) -> Value {
    // A refusal that depends on state is remembered under the key of the call, and so is no code that
    // every call can give.
    let is_remembered = |code: &&Code| {
        let on_state = [
            codes::VERSION_MISMATCH,
            codes::COUNTER_OUT_OF_RANGE,
            codes::STALE_FENCING_TOKEN,
            codes::LOCK_NOT_HELD,
        ];
        !codes::CODES.contains(code) || on_state.contains(code)
    };
    let is_limited = codes.iter().any(|code| code.code == "rate_limited");
    let waiting = ["lock_held", codes::TOO_MANY_FAILURES.code];
    let waits = status == 503 || codes.iter().any(|code| waiting.contains(&code.code));
    Value::Object(references(&[
        ("X-Request-Id", true),
        ("WWW-Authenticate", codes.contains(&&codes::UNAUTHENTICATED)),
        ("Idempotent-Replayed", is_command && codes.iter().any(is_remembered)),
        ("Lockstep-Replicas", is_command && codes.iter().any(is_remembered)),
        ("Retry-After", waits || is_limited),
        ("RateLimit-Policy", is_limited),
        ("RateLimit", is_limited),
    ]))
}

/// References to the headers that are there.
fn references(headers: &[(&str, bool)]) -> Map<String, Value> {
    let there = headers.iter().filter(|(_, is_there)| *is_there);
    there
        .map(|(name, _)| {
            let component = name.replace('-', "");
            ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{component}") }))
        })
        .collect()
}
