//! `GET /scripts/{name}/versions/{version}`: reads one version of a script.

use axum::extract::State;

use super::{
    CODES,
    record::{RegisteredScript, ScriptReply},
};
use crate::{
    api::{self, Answer, Caller, Path, PathNumber},
    store::{Invocation, Operation, Store},
    types::{Code, Id},
};

/// A version of a script, for callers and for a run that does not have its source.
pub struct GetVersion {
    /// Name of the script.
    pub name: Id,
    /// Number of the version.
    pub version: u64,
}

impl Operation for GetVersion {
    const NAME: &'static str = "scripts/get_version";
    const CODES: &'static [Code] = CODES;
    type Reply = ScriptReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("script_key", "script", &self.name)
            .key("versions_key", "script_versions", &self.name)
            .arg("name", &self.name)
            .arg("version", self.version);
    }
}

/// Get a version of a script
///
/// The newest 20 versions are kept, with their sources.
#[utoipa::path(
    get,
    path = "/scripts/{name}/versions/{version}",
    operation_id = GetVersion::NAME,
    tag = "scripts",
    params(
        ("name" = Id, Path, description = "Name of the script.", example = "add-capped"),
        ("version" = u64, Path, description = "Number of the version.", example = 1,
            minimum = 1, maximum = 999_999_999_999_999_u64),
    ),
    responses((status = OK, body = RegisteredScript, description = "The version.")),
)]
pub async fn get_version(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
    PathNumber(version): PathNumber,
) -> api::Result<RegisteredScript> {
    let completed = store.run(&GetVersion { name, version }, &context).await?;
    Ok(Answer::ok(completed.map(ScriptReply::registered)))
}
