//! `DELETE /scripts/{name}`: deletes a script with all its versions.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CODES;
use crate::{
    api::{self, Answer, Caller, IfMatch, Path},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

struct ScriptDeletion {
    name: Id,
    if_match: IfMatch,
}

/// The reply of a deletion.
#[derive(Debug, Deserialize)]
struct ScriptDeletionReply {
    name: Id,
}

/// A script that was deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "name": "add-capped", "deleted": true }))]
pub struct ScriptDeleted {
    /// Name of the script.
    pub name: Id,
    /// Always true.
    pub deleted: bool,
}

impl Operation for ScriptDeletion {
    const NAME: &'static str = "scripts/delete";
    const CODES: &'static [Code] = CODES;
    type Reply = ScriptDeletionReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("script_key", "script", &self.name)
            .key("versions_key", "script_versions", &self.name)
            .key("index_key", "index", "scripts")
            .arg("name", &self.name)
            .arg("expected_version", &self.if_match);
    }
}

/// Delete a script
///
/// Later runs under its name are refused. The data that it wrote stay.
#[utoipa::path(
    delete,
    path = "/scripts/{name}",
    operation_id = ScriptDeletion::NAME,
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped"), IfMatch),
    responses((status = OK, body = ScriptDeleted, description = "The script does not exist any more.")),
)]
pub async fn delete(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
    if_match: IfMatch,
) -> api::Result<ScriptDeleted> {
    let completed = store.run(&ScriptDeletion { name, if_match }, &context).await?;
    Ok(Answer::ok(completed.map(|reply| ScriptDeleted { name: reply.name, deleted: true })))
}
