//! `POST /scripts/flush`: has the server forget all scripts.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::store_problem;
use crate::{
    api::{self, Answer, Caller},
    store::{Completed, Store},
};

/// The scripts after a flush.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "flushed": true, "reloaded": 64 }))]
pub struct ScriptsFlushed {
    /// Always true.
    pub flushed: bool,
    /// Number of scripts of the service that were loaded again.
    pub reloaded: usize,
}

/// Flush the server's scripts
///
/// The server forgets all scripts, of this service and of others, and those of the service are loaded again at
/// once. The registry stays as it is: a script of a space is loaded by its next run, and no caller sees that.
#[utoipa::path(
    post,
    path = "/scripts/flush",
    operation_id = "scripts/flush",
    tag = "scripts",
    responses((status = OK, body = ScriptsFlushed, description = "The server has forgotten all other scripts.")),
    extensions(("x-all-spaces" = json!(true))),
)]
pub async fn flush(State(store): State<Store>, Caller(_): Caller) -> api::Result<ScriptsFlushed> {
    let reloaded = store.flush_scripts().await.map_err(store_problem)?;
    let reply = ScriptsFlushed { flushed: true, reloaded };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
