//! `PUT /scripts/{name}`: registers the source of a script.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CODES, check_name,
    lint::lint,
    record::{RegisteredScript, StoredScript, VersionDetails, answer_script},
    source::{Diagnostic, invalid, prepare, sha256, syntax_of_load},
};
use crate::{
    api::{self, Answer, Caller, IfMatch, Json, Path, Problem},
    store::{Invocation, Operation, Store},
    types::{Code, Id, Text},
};

/// The most names of keys, and of arguments.
const MAX_NAMES: usize = 64;

/// The source of a script, and what it takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "source": "#!lua\nlocal total = tonumber(redis.call('GET', KEYS[1]) or '0')\nif total + ARGV[1] > tonumber(ARGV[2]) then\n  return redis.error_reply('LIMIT reached')\nend\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])",
    "description": "Adds to a number up to a limit",
    "keys": ["total"],
    "args": ["amount", "limit"]
}))]
pub struct PutScript {
    /// Lua source, up to 128 KiB.
    #[schema(min_length = 1, max_length = 131072, pattern = r"^[\s\S]+$")]
    pub source: String,
    /// Description for people, up to 500 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub description: Option<Text<0, 500>>,
    /// Names of the keys that it takes, up to 64. A run with another number of keys is refused.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub keys: Vec<ParameterName>,
    /// Names of the arguments that it takes, up to 64. A run with another number of arguments is refused.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub args: Vec<ParameterName>,
    /// True for a script that only reads. The server refuses it every write, and it can be killed at any time.
    #[serde(default)]
    pub read_only: bool,
}

/// Name of a key or of an argument: 1 to 100 characters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 100, example = "total")]
pub struct ParameterName(Text<1, 100>);

/// A script that was registered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "add-capped",
    "version": 1,
    "latest_version": 1,
    "revision": 1,
    "sha1": "0c5b3b3a6f1f4d5e8a7b9c0d1e2f3a4b5c6d7e8f",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "description": "Adds to a number up to a limit",
    "keys": ["total"],
    "args": ["amount", "limit"],
    "read_only": false,
    "builtin": false,
    "created_at": "2026-01-31T12:00:00.000Z",
    "updated_at": "2026-01-31T12:00:00.000Z",
    "warnings": []
}))]
pub struct PutScriptReply {
    #[serde(flatten)]
    script: RegisteredScript,
    /// What the checks of the source find, as `POST /scripts/validate` answers it.
    pub warnings: Vec<Diagnostic>,
}

struct ScriptRegistration {
    name: Id,
    if_match: IfMatch,
    source: String,
    details: VersionDetails,
}

/// The reply of a registration: the script, and 1 where it is new.
#[derive(Debug, Deserialize)]
struct ScriptPutReply {
    script: StoredScript,
    created: u64,
}

impl Operation for ScriptRegistration {
    const NAME: &'static str = "scripts/put";
    const CODES: &'static [Code] = CODES;
    type Reply = ScriptPutReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("script_key", "script", &self.name)
            .key("versions_key", "script_versions", &self.name)
            .key("index_key", "index", "scripts")
            .arg("name", &self.name)
            .arg("expected_version", &self.if_match)
            .arg("sha256", &self.details.sha256)
            .arg("details", self.details.members())
            .arg("source", &self.source);
    }
}

/// Refuses too many names of keys or arguments.
fn check_names(names: &[ParameterName], pointer: &str) -> Result<Vec<String>, Problem> {
    if names.len() > MAX_NAMES {
        let detail = format!("A script takes at most {MAX_NAMES} of them.");
        return Err(Problem::validation(pointer, detail));
    }
    Ok(names.iter().map(|ParameterName(name)| name.to_string()).collect())
}

/// Put a script
///
/// Registers a source, which then runs under this name on every instance. The server compiles it and runs
/// nothing. The same source is the same version; another one is a new version, and the newest 20 are kept. The
/// registry is in Redis and lasts; what the server has loaded is a copy, which the next run restores.
#[utoipa::path(
    put,
    path = "/scripts/{name}",
    operation_id = ScriptRegistration::NAME,
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped"), IfMatch),
    request_body = PutScript,
    responses(
        (status = OK, body = PutScriptReply, description = "The script, which existed."),
        (status = CREATED, body = PutScriptReply, description = "The new script."),
    ),
    extensions(("x-refusals" = json!(["script_invalid"]))),
)]
pub async fn put(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
    if_match: IfMatch,
    Json(request): Json<PutScript>,
) -> api::Result<PutScriptReply> {
    let name = check_name(name)?;
    let PutScript { source, description, keys, args, read_only } = request;
    let (keys, args) = (check_names(&keys, "/keys")?, check_names(&args, "/args")?);
    let prepared = prepare(&store, &context, &source, read_only).await?;
    // Where the source does not fit into the script around it, only this finds out. Otherwise the first run loads it.
    if let Err(failure) = store.load_script(&prepared.script).await
        && let Some(diagnostic) = syntax_of_load(&failure)
    {
        return Err(invalid(&[diagnostic]));
    }
    let details = VersionDetails {
        description: description.map(String::from),
        keys,
        args,
        ..VersionDetails::new(prepared.script.sha1(), &sha256(&source), prepared.read_only)
    };
    let warnings = lint(&source);
    let registration = ScriptRegistration { name, if_match, source, details };
    let completed = store.run(&registration, &context).await?;
    let is_new = completed.reply.created == 1;
    let completed = completed.map(|reply| reply.script.registered(None));
    let answer: fn(_) -> _ = if is_new { Answer::created } else { Answer::ok };
    let answer = answer_script(completed, answer);
    let answer = if is_new {
        answer.with_location(|script| format!("/scripts/{}", script.name))
    } else {
        answer
    };
    Ok(answer.map(|script| PutScriptReply { script, warnings }))
}
