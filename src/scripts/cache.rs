//! `GET /scripts/cache`: tells which scripts the server has loaded.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{list::ListScripts, record::builtin_script, store_problem};
use crate::{
    api::{self, Answer, Caller, KeysetScan},
    store::{Completed, Library, Store},
    types::limits::MAX_PAGE,
};

/// The scripts that the server has loaded, and those that it has not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "loaded": 1, "missing": 1,
    "scripts": [
        { "name": "add-capped", "sha1": "0c5b3b3a6f1f4d5e8a7b9c0d1e2f3a4b5c6d7e8f", "builtin": false, "loaded": true },
        { "name": "accounts_open", "sha1": "5f0c1b2a3d4e5f60718293a4b5c6d7e8f9012345", "builtin": true, "loaded": false }
    ]
}))]
pub struct ScriptCache {
    /// Number of the scripts that the server has loaded.
    pub loaded: usize,
    /// Number of the others. Each is loaded by its next run.
    pub missing: usize,
    /// The first 500 scripts of the space by their names, each with the version that runs, and then those of the
    /// service.
    pub scripts: Vec<CachedScript>,
}

/// A script that the server may have loaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct CachedScript {
    /// Name of the script.
    pub name: String,
    /// SHA-1 by which the server knows it.
    pub sha1: String,
    /// True for a script of the service itself.
    pub builtin: bool,
    /// True if the server has it.
    pub loaded: bool,
}

/// Show the server's scripts
///
/// Answers for each script of the space, and of the service, whether the server has it loaded.
#[utoipa::path(
    get,
    path = "/scripts/cache",
    operation_id = "scripts/cache",
    tag = "scripts",
    responses((status = OK, body = ScriptCache, description = "The scripts.")),
)]
pub async fn cache(
    State(store): State<Store>,
    Caller(context): Caller,
) -> api::Result<ScriptCache> {
    let scan = KeysetScan::new(MAX_PAGE, None)?;
    let own = scan.page(&store, &context, ListScripts, |_| true).await?.items;
    let own = own.into_iter().map(|script| script.registered(None));
    let mut builtin: Vec<_> = Library::embedded().iter().map(builtin_script).collect();
    builtin.sort_by(|one, other| one.name.cmp(&other.name));
    let mut scripts: Vec<CachedScript> = own
        .chain(builtin)
        .map(|script| CachedScript {
            name: script.name,
            sha1: script.sha1,
            builtin: script.builtin,
            loaded: false,
        })
        .collect();
    let sha1s: Vec<&str> = scripts.iter().map(|script| script.sha1.as_str()).collect();
    let found = store.loaded_scripts(&sha1s).await.map_err(store_problem)?;
    for (script, loaded) in scripts.iter_mut().zip(found) {
        script.loaded = loaded;
    }
    let loaded = scripts.iter().filter(|script| script.loaded).count();
    let reply = ScriptCache { loaded, missing: scripts.len() - loaded, scripts };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
