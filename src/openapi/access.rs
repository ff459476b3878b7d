//! The requirement of each operation of its caller's key: derived from the domain in its name, and from its method and its
//! script, which say if it may change something. `x-access` among the `extensions` of its `#[utoipa::path]` names
//! something else, and `x-all-spaces` an operation that is about the whole server. `app` builds the check of keys from
//! it, and the document tells it.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use crate::{auth::Requirement, store::Library, types::codes};

/// An operation as the check of keys needs it.
pub struct RequiredAccess {
    /// Its method.
    pub method: Method,
    /// Its path with placeholders.
    pub path: String,
    /// Its name, such as `accounts/transfer`.
    pub operation: String,
    /// Its requirement, or the sentence that says why it has none.
    pub requirement: Result<Requirement, String>,
}

/// All operations of a document that is not completed yet.
pub fn required_access(document: &OpenApi) -> Vec<RequiredAccess> {
    let paths = document.paths.paths.iter();
    let operations = paths.flat_map(|(path, item)| {
        [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::PATCH, &item.patch),
            (Method::DELETE, &item.delete),
        ]
        .into_iter()
        .filter_map(move |(method, operation)| Some((path, method, operation.as_ref()?)))
    });
    let access = operations.map(|(path, method, operation)| {
        let name = operation.operation_id.clone().unwrap_or_default();
        let extension = |name: &str| operation.extensions.as_ref()?.get(name);
        let declared = extension("x-access").and_then(Value::as_str);
        let all_spaces = extension("x-all-spaces").is_some();
        let requirement = requirement(&name, method == Method::GET, declared, all_spaces);
        RequiredAccess { method, path: path.clone(), operation: name, requirement }
    });
    access.collect()
}

fn requirement(
    operation: &str,
    is_get: bool,
    declared: Option<&str>,
    all_spaces: bool,
) -> Result<Requirement, String> {
    let library = Library::embedded();
    let script = library.iter().find(|script| script.name == operation);
    let writes = script.map_or(!is_get, |script| !script.header.read_only);
    Requirement::of_operation(operation, writes, declared, all_spaces)
}

/// Tells in the document what an operation requires, and takes the extensions out of it. Returns the codes of its
/// refusals.
pub(super) fn describe(operation: &mut Value, is_get: bool) -> BTreeSet<String> {
    let members = operation.as_object_mut();
    let (declared, all_spaces) = members.map_or((None, None), |members| {
        (members.shift_remove("x-access"), members.shift_remove("x-all-spaces"))
    });
    let name = operation["operationId"].as_str().unwrap_or_default();
    let declared = declared.as_ref().and_then(Value::as_str);
    let Ok(requirement) = requirement(name, is_get, declared, all_spaces.is_some()) else {
        return BTreeSet::new();
    };
    let (scopes, sentence, codes) = match &requirement {
        Requirement::Open => {
            operation["security"] = json!([]);
            return BTreeSet::new();
        }
        Requirement::AnyKey => (vec![], "Any key may call this.".to_owned(), &OF_KEYS[..]),
        Requirement::Everything => (vec!["*"], "Scope: `*`.".to_owned(), &OF_KEYS[..]),
        Requirement::Scope { scope, operation, all_spaces } => {
            let spaces = if *all_spaces { ", for all spaces" } else { "" };
            let sentence = format!("Scope: `{}` or `{operation}`{spaces}.", scope.name());
            (vec![scope.name()], sentence, &OF_KEYS[..])
        }
    };
    // A service without keys takes every call without one.
    operation["security"] = json!([{ "callerKey": scopes }, {}]);
    let description = operation["description"].as_str().unwrap_or_default();
    operation["description"] = format!("{description}\n\n{sentence}").trim().into();
    codes.iter().map(|code| code.code.to_owned()).collect()
}

/// Refusals of calls with keys.
const OF_KEYS: [crate::types::Code; 4] = [
    codes::UNAUTHENTICATED,
    codes::INSUFFICIENT_SCOPE,
    codes::SPACE_NOT_ALLOWED,
    codes::TOO_MANY_FAILURES,
];

/// Adds the scheme of callers' keys to the components.
pub(super) fn add_components(components: &mut Value) {
    components["securitySchemes"] = json!({
        "callerKey": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "lsk_<id>_<secret>",
            "description": "A key that `POST /keys` has made. A service that was started without a root key takes \
                every call without one.",
        },
    });
}
