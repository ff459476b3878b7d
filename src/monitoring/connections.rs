//! `GET /monitoring/connections`: the connections of this process to Redis, by batch worker and pool.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{NoParameters, Query},
    store::{ConnectionGroup, Store},
};

/// Connections of one process to Redis.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "process": "0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "uptime_ms": 86_400_000,
    "groups": [{
        "name": "worker-0", "shard": null, "created": 1, "idle": 0, "in_use": 1, "waiting": 0, "waiting_limit": 8192, "reconnects": 0,
        "commands": 5160, "errors": 0, "mean_ms": 0.31, "commands_per_second": 0.06
    }]
}))]
pub struct Connections {
    /// Id of the process that answers. Each has connections of its own.
    #[schema(example = "0199f6c28f7a7c319d4e52a1b7f0c6aa")]
    process: String,
    /// Time since the process opened its store, in milliseconds.
    #[schema(example = 86_400_000)]
    uptime_ms: u64,
    /// Batch workers, `worker-0` and so on, each of which shares one connection among all calls, the last of them among
    /// those that wait for replicas; `large-calls`, the batch worker for calls of more than 16 KiB; `pool`, for checks,
    /// upkeep and large values that are read; and `transactions`, for transactions with `watch` or `guards`. Of a
    /// cluster, each master has all of these.
    groups: Vec<ConnectionFigures>,
}

/// Connections of a batch worker or of a pool, since the process started.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionFigures {
    /// Name of the batch worker or pool.
    #[schema(example = "worker-0")]
    name: String,
    /// Address of the master to which they lead; null for a single server.
    #[schema(example = json!(null))]
    shard: Option<String>,
    /// Connections that were made.
    #[schema(example = 1)]
    created: u64,
    /// Connections that wait for a user.
    #[schema(example = 0)]
    idle: u64,
    /// Connections that have a user.
    #[schema(example = 1)]
    in_use: u64,
    /// Calls that wait in the queue of the batch worker, or for a connection of the pool.
    #[schema(example = 0)]
    waiting: u64,
    /// The most calls that may wait; of a pool null, because only their timeout bounds them.
    #[schema(example = 8192)]
    waiting_limit: Option<u64>,
    /// Connections that were lost and replaced.
    #[schema(example = 0)]
    reconnects: u64,
    /// Commands that were sent. A script is one command, however many calls it carries.
    #[schema(example = 5160)]
    commands: u64,
    /// Commands that were answered by an error, and pipelines that got no answer.
    #[schema(example = 0)]
    errors: u64,
    /// Mean time for a command from its sending to the last reply of its pipeline, in milliseconds; null before
    /// the first.
    #[schema(example = 0.31)]
    mean_ms: Option<f64>,
    /// Commands per second of the time since the process started.
    #[schema(example = 0.06)]
    commands_per_second: f64,
}

impl ConnectionFigures {
    fn of(group: ConnectionGroup, uptime_s: f64) -> ConnectionFigures {
        let busy_ms = group.busy.as_micros() as f64 / 1000.0;
        ConnectionFigures {
            name: group.name,
            shard: group.shard,
            created: group.created,
            idle: group.idle,
            in_use: group.in_use,
            waiting: group.waiting,
            waiting_limit: group.waiting_limit,
            reconnects: group.reconnects,
            commands: group.commands,
            errors: group.errors,
            mean_ms: (group.commands > 0).then(|| busy_ms / group.commands as f64),
            commands_per_second: group.commands as f64 / uptime_s.max(f64::MIN_POSITIVE),
        }
    }
}

/// Read figures of connections
///
/// The connections of the process that answers to Redis: how many there are and wait, what was sent on them, and
/// how long that took. It asks Redis nothing.
#[utoipa::path(
    get,
    path = "/monitoring/connections",
    operation_id = "monitoring/connections",
    tag = "monitoring",
    responses((status = OK, body = Connections, description = "The connections.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn connections(
    State(store): State<Store>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Json<Connections> {
    let uptime = store.uptime();
    let groups = store.connection_groups().into_iter();
    let groups = groups.map(|group| ConnectionFigures::of(group, uptime.as_secs_f64())).collect();
    let uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    Json(Connections { process: store.process().to_string(), uptime_ms, groups })
}
