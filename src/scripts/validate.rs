//! `POST /scripts/validate`: says what is wrong with a source, without registering it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    lint::lint,
    source::{Diagnostic, compile, without_shebang},
};
use crate::{
    api::{self, Answer, Caller, Json},
    store::{Completed, Store},
};

/// A source to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "source": "total = redis.call('GET', 'total')\nreturn total" }))]
pub struct ValidateScript {
    /// Lua source, up to 128 KiB.
    #[schema(min_length = 1, max_length = 131072, pattern = r"^[\s\S]+$")]
    pub source: String,
}

/// The state of a source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "valid": true,
    "diagnostics": [{
        "line": 1, "column": 1, "severity": "warning", "rule": "global-assignment",
        "message": "`total` is no local variable, and the server refuses new global ones"
    }]
}))]
pub struct ScriptValidation {
    /// True if the server can compile the source.
    pub valid: bool,
    /// Places that callers should know of, in the order of their lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// Validate a source
///
/// The server compiles the source, runs nothing and keeps nothing. A source that compiles is checked further:
/// global variables that are assigned, keys that were not passed in, commands that no script may run, loops without
/// an end, writes before a later refusal, and a missing `#!lua`.
#[utoipa::path(
    post,
    path = "/scripts/validate",
    operation_id = "scripts/validate",
    tag = "scripts",
    request_body = ValidateScript,
    responses((status = OK, body = ScriptValidation, description = "The state of the source.")),
    extensions(("x-access" = json!("scripts:read"))),
)]
pub async fn validate(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<ValidateScript>,
) -> api::Result<ScriptValidation> {
    let source = request.source;
    let (code, _) = without_shebang(&source)?;
    let reply = match compile(&store, &context, code).await? {
        Err(diagnostic) => ScriptValidation { valid: false, diagnostics: vec![diagnostic] },
        Ok(_) => ScriptValidation { valid: true, diagnostics: lint(&source) },
    };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
