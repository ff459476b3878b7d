//! `GET /health`: the state of the server behind the service, and what is wrong with it.

use axum::{Json, extract::State};
use futures_util::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{NoParameters, Problem, Query},
    store::{Failure, ServerInfo, Store},
    types::codes,
};

/// The share of its memory, in per cent, from which a server is warned of.
const HIGH_MEMORY_PERCENT: f64 = 90.0;

/// The difference of clocks, in milliseconds, from which it is warned of.
const LARGE_CLOCK_DIFFERENCE_MS: u64 = 1000;

/// The state of the Redis or Valkey server. Of a cluster, `status` and `warnings` are those of all masters, and the
/// figures those of the first one that answers; `shards` has each.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "status": "ok",
    "warnings": [],
    "ping_ms": 0.21,
    "server": { "name": "valkey", "version": "9.0.1", "mode": "standalone", "role": "primary", "uptime_s": 86_400 },
    "memory": { "used_bytes": 1_048_576, "limit_bytes": 1_073_741_824, "used_percent": 0.1, "eviction_policy": "noeviction" },
    "connected_clients": 3,
    "commands_processed": 5160,
    "persistence": { "appendonly": true, "last_append_ok": true, "last_snapshot_ok": true, "loading": false },
    "clock_difference_ms": 2,
    "replicas": [],
    "shards": []
}))]
pub struct ServerHealth {
    /// `ok`, or `warning` where there are warnings. A server that does not serve is a problem instead.
    #[schema(example = "ok")]
    status: &'static str,
    /// Sentences that say what is wrong.
    warnings: Vec<String>,
    /// Time of a round trip to the server, in milliseconds.
    #[schema(example = 0.21)]
    ping_ms: f64,
    /// The server.
    server: ServerState,
    /// Its memory.
    memory: ServerMemory,
    /// Connections to the server, of all its clients.
    #[schema(example = 3)]
    connected_clients: Option<u64>,
    /// Commands that the server has run since it started.
    #[schema(example = 5160)]
    commands_processed: Option<u64>,
    /// How it keeps its data.
    persistence: ServerPersistence,
    /// The clock of this service's machine less that of the server, in milliseconds. Only the server's clock
    /// decides anything.
    #[schema(example = 2)]
    clock_difference_ms: i64,
    /// Replicas that are connected to the server.
    replicas: Vec<Replica>,
    /// Masters of the cluster; empty for a single server.
    shards: Vec<ShardHealth>,
}

/// The state of one master of a cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "address": "10.0.0.5:6379", "slots": 5461, "status": "ok", "reason": null, "warnings": [], "ping_ms": 0.21,
    "role": "primary", "version": "9.0.1", "used_bytes": 1_048_576, "limit_bytes": null, "replicas": []
}))]
pub struct ShardHealth {
    /// Its address.
    #[schema(example = "10.0.0.5:6379")]
    address: String,
    /// Number of hash slots that it owns.
    #[schema(example = 5461)]
    slots: usize,
    /// `ok`; `warning` where there are warnings; `unavailable` where it does not answer. Calls for its spaces fail
    /// then, and no others.
    #[schema(example = "ok")]
    status: &'static str,
    /// Why it is unavailable; null where it answers.
    #[schema(example = json!(null))]
    reason: Option<String>,
    /// Sentences that say what is wrong with it.
    warnings: Vec<String>,
    /// Time of a round trip to it, in milliseconds; null where it does not answer.
    #[schema(example = 0.21)]
    ping_ms: Option<f64>,
    /// `primary` or `replica`; null where it does not tell.
    #[schema(example = "primary")]
    role: Option<&'static str>,
    /// Its version; null where it does not tell.
    #[schema(example = "9.0.1")]
    version: Option<String>,
    /// Bytes of memory in use; null where it does not tell.
    #[schema(example = 1_048_576)]
    used_bytes: Option<u64>,
    /// The most bytes that it may use (`maxmemory`); null without a limit.
    #[schema(example = json!(null))]
    limit_bytes: Option<u64>,
    /// Replicas that are connected to it.
    replicas: Vec<Replica>,
}

/// What the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerState {
    /// `redis` or `valkey`.
    #[schema(example = "valkey")]
    name: &'static str,
    /// Its version.
    #[schema(example = "9.0.1")]
    version: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    #[schema(example = "standalone")]
    mode: Option<String>,
    /// `primary` or `replica`.
    #[schema(example = "primary")]
    role: Option<&'static str>,
    /// Time since it started, in seconds.
    #[schema(example = 86_400)]
    uptime_s: Option<u64>,
}

/// The memory of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerMemory {
    /// Bytes in use.
    #[schema(example = 1_048_576)]
    used_bytes: Option<u64>,
    /// The most bytes that it may use (`maxmemory`); null without a limit.
    #[schema(example = 1_073_741_824)]
    limit_bytes: Option<u64>,
    /// Share of the limit that is in use, in per cent; null without a limit.
    #[schema(example = 0.1)]
    used_percent: Option<f64>,
    /// What it evicts at the limit (`maxmemory-policy`): nothing by `noeviction`.
    #[schema(example = "noeviction")]
    eviction_policy: Option<String>,
}

/// The persistence of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerPersistence {
    /// True if it writes an append-only file.
    #[schema(example = true)]
    appendonly: Option<bool>,
    /// True if the last write of that file worked.
    #[schema(example = true)]
    last_append_ok: Option<bool>,
    /// True if the last snapshot worked, or none was made yet.
    #[schema(example = true)]
    last_snapshot_ok: Option<bool>,
    /// True while it reads its data after a start.
    #[schema(example = false)]
    loading: Option<bool>,
}

/// A replica of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replica {
    /// Its address.
    #[schema(example = "10.0.0.7:6379")]
    address: String,
    /// Its state, `online` once it follows.
    #[schema(example = "online")]
    state: String,
    /// Bytes of the replication stream that it has not acknowledged yet.
    #[schema(example = 0)]
    behind_bytes: Option<u64>,
}

/// Read the state of the server
///
/// Asks Redis for its own figures. `status` is `warning` where something should be put right: data may be evicted
/// or are not persisted, memory is nearly full, a write to disk has failed, or the clocks differ by a second.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "monitoring/health",
    tag = "monitoring",
    responses((status = OK, body = ServerHealth, description = "The server answers.")),
    extensions(("x-refusals" = json!([
        "invalid_query", "overloaded", "store_unavailable", "store_busy", "store_loading", "store_readonly", "store_out_of_memory"
    ]))),
)]
pub async fn health(
    State(store): State<Store>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Json<ServerHealth>, Problem> {
    let shards = store.shards();
    let mut infos = join_all(shards.iter().map(|shard| store.server_info(shard))).await;
    let Some(first) = infos.iter().position(Result::is_ok) else {
        let failure = infos.into_iter().find_map(Result::err);
        return Err(failure.map_or_else(|| codes::STORE_UNAVAILABLE.into(), Problem::from));
    };
    let states = shards.iter().zip(&infos).filter_map(|(shard, info)| {
        Some(ShardHealth::of(shard.address(), shard.slots()?, info.as_ref()))
    });
    let states: Vec<_> = states.collect();
    let mut health = ServerHealth::of(&infos.swap_remove(first)?);
    if !states.is_empty() {
        health.warnings = states.iter().flat_map(ShardHealth::sentences).collect();
        if store.unowned_slots() > 0 {
            let sentence = format!("{} slots of the cluster have no owner.", store.unowned_slots());
            health.warnings.push(sentence);
        }
        health.status = status(&health.warnings);
    }
    health.shards = states;
    Ok(Json(health))
}

fn status(warnings: &[String]) -> &'static str {
    if warnings.is_empty() { "ok" } else { "warning" }
}

impl ShardHealth {
    fn of(address: String, slots: usize, info: Result<&ServerInfo, &Failure>) -> ShardHealth {
        let health = info.ok().map(ServerHealth::of);
        let reason = info.err().map(Failure::to_string);
        let Some(health) = health else {
            return ShardHealth {
                address,
                slots,
                status: "unavailable",
                reason,
                warnings: Vec::new(),
                ping_ms: None,
                role: None,
                version: None,
                used_bytes: None,
                limit_bytes: None,
                replicas: Vec::new(),
            };
        };
        ShardHealth {
            address,
            slots,
            status: health.status,
            reason,
            warnings: health.warnings,
            ping_ms: Some(health.ping_ms),
            role: health.server.role,
            version: health.server.version,
            used_bytes: health.memory.used_bytes,
            limit_bytes: health.memory.limit_bytes,
            replicas: health.replicas,
        }
    }

    /// The warnings, and the reason why it is unavailable, each with its address.
    fn sentences(&self) -> impl Iterator<Item = String> {
        let reason = self.reason.iter().map(|reason| {
            format!("{} does not answer, and calls for its spaces fail: {reason}.", self.address)
        });
        let warnings = self.warnings.iter();
        reason.chain(warnings.map(|warning| format!("{}: {warning}", self.address)))
    }
}

impl ServerHealth {
    fn of(info: &ServerInfo) -> ServerHealth {
        let memory = ServerMemory::of(info);
        let persistence = ServerPersistence::of(info);
        let warnings = warnings(&memory, &persistence, info);
        ServerHealth {
            status: status(&warnings),
            warnings,
            ping_ms: info.ping.as_micros() as f64 / 1000.0,
            server: ServerState::of(info),
            memory,
            connected_clients: info.number("connected_clients"),
            commands_processed: info.number("total_commands_processed"),
            persistence,
            clock_difference_ms: info.clock_difference_ms,
            replicas: replicas(info),
            shards: Vec::new(),
        }
    }
}

impl ServerState {
    fn of(info: &ServerInfo) -> ServerState {
        let valkey = info.text("valkey_version");
        let role = match info.text("role") {
            Some("master") => Some("primary"),
            Some("slave") => Some("replica"),
            _ => None,
        };
        ServerState {
            name: if valkey.is_some() { "valkey" } else { "redis" },
            version: valkey.or(info.text("redis_version")).map(str::to_owned),
            mode: info.text("redis_mode").or(info.text("server_mode")).map(str::to_owned),
            role,
            uptime_s: info.number("uptime_in_seconds"),
        }
    }
}

impl ServerMemory {
    fn of(info: &ServerInfo) -> ServerMemory {
        let used_bytes = info.number("used_memory");
        let limit_bytes = info.number("maxmemory").filter(|limit| *limit > 0);
        let percent =
            |used: u64, limit: u64| (used as f64 / limit as f64 * 10_000.0).round() / 100.0;
        ServerMemory {
            used_bytes,
            limit_bytes,
            used_percent: used_bytes.zip(limit_bytes).map(|(used, limit)| percent(used, limit)),
            eviction_policy: info.text("maxmemory_policy").map(str::to_owned),
        }
    }
}

impl ServerPersistence {
    fn of(info: &ServerInfo) -> ServerPersistence {
        let is = |name: &str, value: &str| info.text(name).map(|text| text == value);
        ServerPersistence {
            appendonly: is("aof_enabled", "1"),
            last_append_ok: is("aof_last_write_status", "ok"),
            last_snapshot_ok: is("rdb_last_bgsave_status", "ok"),
            loading: is("loading", "1"),
        }
    }
}

fn warnings(
    memory: &ServerMemory,
    persistence: &ServerPersistence,
    info: &ServerInfo,
) -> Vec<String> {
    let mut warnings = Vec::new();
    match memory.eviction_policy.as_deref() {
        Some("noeviction") | None => {}
        Some(policy) => warnings.push(format!(
            "maxmemory-policy is {policy}, which can evict money: set it to noeviction."
        )),
    }
    if let Some(percent) = memory.used_percent.filter(|percent| *percent >= HIGH_MEMORY_PERCENT) {
        warnings.push(format!(
            "The server uses {percent} % of its memory; at 100 % it refuses writes."
        ));
    }
    if persistence.appendonly == Some(false) {
        warnings.push(
            "The server writes no append-only file: a crash loses what was acknowledged."
                .to_owned(),
        );
    }
    if persistence.last_append_ok == Some(false) {
        warnings.push(
            "The last write of the append-only file has failed: look at the disk.".to_owned(),
        );
    }
    if persistence.last_snapshot_ok == Some(false) {
        warnings.push(
            "The last snapshot has failed: look at the log and the disk of the server.".to_owned(),
        );
    }
    if info.clock_difference_ms.unsigned_abs() >= LARGE_CLOCK_DIFFERENCE_MS {
        warnings.push(format!(
            "The clocks of this machine and of the server differ by {} ms: one of them is wrong.",
            info.clock_difference_ms
        ));
    }
    warnings
}

/// The replicas that the server names: `slave0:ip=10.0.0.7,port=6379,state=online,offset=123,lag=0`.
fn replicas(info: &ServerInfo) -> Vec<Replica> {
    let written = info.number("master_repl_offset");
    let lines = (0..).map_while(|number| info.text(&format!("slave{number}")));
    let replica = |line: &str| {
        let field = |name: &str| {
            let mut pairs = line.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
        };
        let offset = field("offset").and_then(|offset| offset.parse::<u64>().ok());
        Replica {
            address: format!(
                "{}:{}",
                field("ip").unwrap_or_default(),
                field("port").unwrap_or_default()
            ),
            state: field("state").unwrap_or_default().to_owned(),
            behind_bytes: written
                .zip(offset)
                .map(|(written, offset)| written.saturating_sub(offset)),
        }
    };
    lines.map(replica).collect()
}
