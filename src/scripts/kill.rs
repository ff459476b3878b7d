//! `POST /scripts/kill`: ends the script that the server is running.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{codes, store_problem};
use crate::{
    api::{self, Answer, Caller},
    store::{Completed, Kill, Store},
};

/// The end of a running script.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "killed": false }))]
pub struct ScriptKilled {
    /// True if a script was running and was ended; false if none was running.
    pub killed: bool,
}

/// Kill the running script
///
/// Ends the script that the server is running, of any client, if it has written nothing. The server takes a kill
/// only when a script has run for longer than its `busy-reply-threshold`, so the answer may take that long.
#[utoipa::path(
    post,
    path = "/scripts/kill",
    operation_id = "scripts/kill",
    tag = "scripts",
    responses((status = OK, body = ScriptKilled, description = "No script is running any more.")),
    extensions(("x-all-spaces" = json!(true)), ("x-refusals" = json!(["script_not_killable"]))),
)]
pub async fn kill(State(store): State<Store>, Caller(_): Caller) -> api::Result<ScriptKilled> {
    let killed = match store.kill_script().await.map_err(store_problem)? {
        Kill::Killed => true,
        Kill::NotBusy => false,
        Kill::NotKillable => return Err(codes::SCRIPT_NOT_KILLABLE.into()),
    };
    Ok(Answer::ok(Completed { reply: ScriptKilled { killed }, replayed: false }))
}
