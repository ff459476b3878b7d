//! `GET /scripts/{name}`: reads a script with the version that runs.

use axum::extract::State;

use super::{
    CODES,
    record::{RegisteredScript, ScriptReply, answer_script, builtin, builtin_script},
};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Completed, Invocation, Library, Operation, Store},
    types::{Code, Id},
};

struct GetScript(Id);

impl Operation for GetScript {
    const NAME: &'static str = "scripts/get";
    const CODES: &'static [Code] = CODES;
    type Reply = ScriptReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("script_key", "script", &self.0)
            .key("versions_key", "script_versions", &self.0)
            .arg("name", &self.0);
    }
}

/// Get a script
///
/// Answers the version that runs, with its source. A script of the service itself has the name of its operation
/// with `_` for `/`, such as `accounts_transfer`. The ETag is the revision of the script.
#[utoipa::path(
    get,
    path = "/scripts/{name}",
    operation_id = GetScript::NAME,
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped")),
    responses((status = OK, body = RegisteredScript, description = "The script.")),
)]
pub async fn get(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
) -> api::Result<RegisteredScript> {
    if let Some(script) = builtin(Library::embedded(), &name) {
        let reply = builtin_script(script);
        return Ok(answer_script(Completed { reply, replayed: false }, Answer::ok));
    }
    let completed = store.run(&GetScript(name), &context).await?;
    Ok(answer_script(completed.map(ScriptReply::registered), Answer::ok))
}
