//! `GET /monitoring/contention`: conflicts of transactions by WATCH, and the keys that they were over.

use axum::{Extension, Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{NoParameters, Query, RequestInfo},
    store::Store,
    telemetry::CallStatistics,
};

/// The most keys of the answer.
const MAX_KEYS: usize = 50;

/// The least conflicts over a key for which another way is advised.
const MANY_CONFLICTS: u64 = 10;

/// Conflicts that one process has met.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "process": "0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "conflicts": 812,
    "keys": [{
        "space": "main", "key": "balance", "conflicts": 790,
        "hint": "Many callers change this key at the same time. Calls without watch and guards never conflict: use a counter, an operation of a domain, or POST /atomic."
    }]
}))]
pub struct Contention {
    /// Id of the process that answers.
    #[schema(example = "0199f6c28f7a7c319d4e52a1b7f0c6aa")]
    process: String,
    /// Attempts of `POST /transactions` that met a conflict since the process started.
    #[schema(example = 812)]
    conflicts: u64,
    /// Data keys with the most conflicts, the most first, at most 50. The process counts 256 keys at a time, so a
    /// count may be too high by that of the key that had to give way.
    keys: Vec<ContendedKey>,
}

/// Conflicts over one data key.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContendedKey {
    /// Space of the key.
    #[schema(example = "main")]
    space: String,
    /// Name of the key.
    #[schema(example = "balance")]
    key: String,
    /// Conflicts of transactions that watched the key. Where the values tell which key had changed, it alone counts.
    #[schema(example = 790)]
    conflicts: u64,
    /// Advice, where there are many conflicts; otherwise null.
    #[schema(example = "Many callers change this key at the same time.")]
    hint: Option<&'static str>,
}

const HINT: &str = "Many callers change this key at the same time. Calls without watch and guards never conflict: use a \
    counter, an operation of a domain, or POST /atomic.";

impl From<(String, u64)> for ContendedKey {
    fn from((name, conflicts): (String, u64)) -> ContendedKey {
        let (space, key) = name.split_once('/').unwrap_or(("", &name));
        let hint = (conflicts >= MANY_CONFLICTS).then_some(HINT);
        ContendedKey { space: space.to_owned(), key: key.to_owned(), conflicts, hint }
    }
}

/// Read conflicts of transactions
///
/// The attempts of `POST /transactions` by the process that answers which met a conflict, and the most contended
/// keys. It asks Redis nothing.
#[utoipa::path(
    get,
    path = "/monitoring/contention",
    operation_id = "monitoring/contention",
    tag = "monitoring",
    responses((status = OK, body = Contention, description = "The conflicts.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn contention(
    State(store): State<Store>,
    Query(NoParameters {}): Query<NoParameters>,
    Extension(info): Extension<RequestInfo>,
) -> Json<Contention> {
    let contention = info.observation.statistics().map(CallStatistics::contention);
    let contention = contention.unwrap_or_default();
    let keys = contention.most(MAX_KEYS).into_iter().map(ContendedKey::from).collect();
    let conflicts = contention.conflicts();
    Json(Contention { process: store.process().to_string(), conflicts, keys })
}
