//! `GET /monitoring/scripts`: the runs of each script by this process.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{NoParameters, Problem, Query},
    store::{ScriptRuns, Store},
};

/// Runs of the scripts by one process.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "process": "0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "scripts": [{
        "name": "accounts/transfer", "calls": 4107, "mean_ms": 0.42, "p50_ms": 0.38, "p95_ms": 0.71, "p99_ms": 1.4,
        "reloads": 1, "loaded": true
    }]
}))]
pub struct ProcessScripts {
    /// Id of the process that answers.
    #[schema(example = "0199f6c28f7a7c319d4e52a1b7f0c6aa")]
    process: String,
    /// Scripts, in the order of their names.
    scripts: Vec<ScriptFigures>,
}

/// Runs of one script since the process started. A duration is the time from the queue to the decoded reply.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptFigures {
    /// Operation that the script is for.
    #[schema(example = "accounts/transfer")]
    name: String,
    /// Runs, however they ended. Commands of `POST /atomic` run in its script.
    #[schema(example = 4107)]
    calls: u64,
    /// Mean duration in milliseconds; null before the first run, as the percentiles are.
    #[schema(example = 0.42)]
    mean_ms: Option<f64>,
    /// Duration that half of the runs did not exceed, in milliseconds.
    #[schema(example = 0.38)]
    p50_ms: Option<f64>,
    /// Duration that 95 % of the runs did not exceed, in milliseconds.
    #[schema(example = 0.71)]
    p95_ms: Option<f64>,
    /// Duration that 99 % of the runs did not exceed, in milliseconds.
    #[schema(example = 1.4)]
    p99_ms: Option<f64>,
    /// Times that its source was sent, because the server did not know it.
    #[schema(example = 1)]
    reloads: u64,
    /// True if the server knows it now; null where the Redis user may not ask (`SCRIPT EXISTS`).
    #[schema(example = true)]
    loaded: Option<bool>,
}

impl From<ScriptRuns> for ScriptFigures {
    fn from(runs: ScriptRuns) -> ScriptFigures {
        ScriptFigures {
            name: runs.name.to_owned(),
            calls: runs.durations.count(),
            mean_ms: runs.durations.mean_ms(),
            p50_ms: runs.durations.quantile_ms(0.5),
            p95_ms: runs.durations.quantile_ms(0.95),
            p99_ms: runs.durations.quantile_ms(0.99),
            reloads: runs.loads,
            loaded: runs.loaded,
        }
    }
}

/// Read figures of scripts
///
/// The runs of the service's own scripts by the process that answers, and which of them the server has loaded.
#[utoipa::path(
    get,
    path = "/monitoring/scripts",
    operation_id = "monitoring/scripts",
    tag = "monitoring",
    responses((status = OK, body = ProcessScripts, description = "The scripts.")),
    extensions(("x-refusals" = json!([
        "invalid_query", "overloaded", "store_unavailable", "store_busy", "store_loading", "store_readonly", "store_out_of_memory"
    ]))),
)]
pub async fn scripts(
    State(store): State<Store>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Json<ProcessScripts>, Problem> {
    let scripts = store.script_runs().await?.into_iter().map(ScriptFigures::from).collect();
    Ok(Json(ProcessScripts { process: store.process().to_string(), scripts }))
}
