//! `POST /scripts/{name}/activate`: has another version of a script run, an older or a newer one.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CODES,
    record::{RegisteredScript, ScriptReply, answer_script},
};
use crate::{
    api::{self, Answer, Caller, IfMatch, Json, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

/// The version that is to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1 }))]
pub struct ActivateScript {
    /// Number of a version that is kept.
    #[schema(minimum = 1)]
    pub version: u64,
}

struct Activation {
    name: Id,
    if_match: IfMatch,
    version: u64,
}

impl Operation for Activation {
    const NAME: &'static str = "scripts/activate";
    const CODES: &'static [Code] = CODES;
    type Reply = ScriptReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("script_key", "script", &self.name)
            .key("versions_key", "script_versions", &self.name)
            .arg("name", &self.name)
            .arg("expected_version", &self.if_match)
            .arg("version", self.version);
    }
}

/// Activate a version of a script
///
/// Runs that name no version run this one from now on, on every instance. Nothing of the versions changes.
#[utoipa::path(
    post,
    path = "/scripts/{name}/activate",
    operation_id = Activation::NAME,
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped"), IfMatch),
    request_body = ActivateScript,
    responses((status = OK, body = RegisteredScript, description = "The version runs.")),
)]
pub async fn activate(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
    if_match: IfMatch,
    Json(request): Json<ActivateScript>,
) -> api::Result<RegisteredScript> {
    let activation = Activation { name, if_match, version: request.version };
    let completed = store.run(&activation, &context).await?;
    Ok(answer_script(completed.map(ScriptReply::registered), Answer::ok))
}
