//! `POST /scripts/{name}/profile`: runs a script many times, and tells how long that took.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::State;
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    run::{RunScript, ScriptRunReply},
    store_problem,
};
use crate::{
    api::{self, Answer, Caller, Json, Path, Problem},
    store::{Completed, Context, ScriptValue, Store},
    types::Id,
};

/// The most runs of a profile, and the most at a time.
const MAX_ITERATIONS: u64 = 10_000;
const MAX_CONCURRENCY: u64 = 32;

/// The time after which no further run begins.
const MAX_DURATION: Duration = Duration::from_secs(10);

/// The runs that are asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "keys": ["visits"], "args": ["1", "1000000"], "iterations": 100, "concurrency": 1 }))]
pub struct ProfileScript {
    /// Names of the keys. They stand for empty keys that are removed afterwards.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub keys: Vec<Id>,
    /// Arguments, as a run takes them.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub args: Vec<Value>,
    /// Number of the version to run; the active one by default.
    #[schema(minimum = 1)]
    pub version: Option<u64>,
    /// Number of runs, 1 to 10,000.
    #[serde(default = "ProfileScript::default_iterations")]
    #[schema(minimum = 1, maximum = 10000, default = 100)]
    pub iterations: u64,
    /// Number of runs at a time, 1 to 32.
    #[serde(default = "ProfileScript::default_concurrency")]
    #[schema(minimum = 1, maximum = 32, default = 1)]
    pub concurrency: u64,
}

impl ProfileScript {
    fn default_iterations() -> u64 {
        100
    }

    fn default_concurrency() -> u64 {
        1
    }
}

/// The times of many runs of a script.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "add-capped", "version": 1, "iterations": 100, "errors": 0,
    "p50_us": 110, "p95_us": 160, "p99_us": 220, "min_us": 95, "max_us": 400, "mean_us": 118, "per_second": 8300,
    "server": { "calls": 100, "mean_us": 31 }
}))]
pub struct ScriptProfile {
    /// Name of the script.
    pub name: Id,
    /// Number of the version that ran.
    pub version: u64,
    /// Number of runs. It is less than was asked for where 10 seconds were not enough.
    pub iterations: u64,
    /// Number of runs that failed. They are not among the times.
    pub errors: u64,
    /// Median of the times, in microseconds, as the service saw them; null where every run failed.
    pub p50_us: Option<u64>,
    /// Time that 95 of 100 runs took at most.
    pub p95_us: Option<u64>,
    /// Time that 99 of 100 runs took at most.
    pub p99_us: Option<u64>,
    /// Shortest time.
    pub min_us: Option<u64>,
    /// Longest time.
    pub max_us: Option<u64>,
    /// Mean of the times.
    pub mean_us: Option<u64>,
    /// Number of runs in a second.
    pub per_second: u64,
    /// The same as the server counted it.
    pub server: ServerProfile,
    /// Problem of the first run that failed, as its own call would have answered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "The script add-capped failed: boom.")]
    pub first_error: Option<String>,
}

/// The runs that the server counted meanwhile. It counts those of all its clients together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "calls": 100, "mean_us": 31 }))]
pub struct ServerProfile {
    /// Number of scripts that ran, by EVALSHA and EVALSHA_RO.
    pub calls: u64,
    /// Mean of the microseconds that the server worked for one of them.
    pub mean_us: u64,
}

/// Refuses a number outside of its bounds.
fn check_bounds(pointer: &str, number: u64, most: u64) -> Result<(), Problem> {
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(Problem::validation(pointer, format!("This is 1 to {most}.")))
}

/// The time that `percent` of the runs took at most. `times` are in their order.
fn percentile(times: &[u64], percent: usize) -> Option<u64> {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied()
}

/// Profile a script
///
/// Runs it again and again on empty keys of its own, which are removed afterwards, and answers its times. The
/// script finds nothing of the space there.
#[utoipa::path(
    post,
    path = "/scripts/{name}/profile",
    operation_id = "scripts/profile",
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped")),
    request_body = ProfileScript,
    responses((status = OK, body = ScriptProfile, description = "The times.")),
    extensions(("x-refusals" = json!(["script_not_found", "script_version_not_found"]))),
)]
pub async fn profile(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
    Json(request): Json<ProfileScript>,
) -> api::Result<ScriptProfile> {
    let ProfileScript { keys, args, version, iterations, concurrency } = request;
    check_bounds("/iterations", iterations, MAX_ITERATIONS)?;
    check_bounds("/concurrency", concurrency, MAX_CONCURRENCY)?;
    let run = RunScript { keys, args, version, timeout_ms: None };
    let ready = Arc::new(run.ready(name.clone(), &store, &context).await?);
    // A script cannot leave the data keys of its space, so a space of its own is all that it can have written.
    let space = Id::try_from(format!("profile-{}", Uuid::now_v7().simple()));
    let own = Context::of_space(space.map_err(|_| crate::types::codes::INTERNAL_ERROR)?);

    let counted_before = store.run_counts().await.map_err(store_problem)?;
    let started = Instant::now();
    let runs = stream::iter(0..iterations).map(|_| {
        let (store, own, ready) = (&store, &own, &ready);
        async move {
            let begun = Instant::now();
            if begun.duration_since(started) >= MAX_DURATION {
                return None;
            }
            let ran = ready.run(store, own, true).await;
            Some((begun.elapsed(), ran))
        }
    });
    let ran: Vec<_> = runs
        .buffer_unordered(usize::try_from(concurrency).unwrap_or(1))
        .filter_map(std::future::ready)
        .collect()
        .await;
    let took = started.elapsed();
    let counted = store.run_counts().await.map_err(store_problem)?;

    let iterations = ran.len() as u64;
    let Runs { times, written, first_error } = Runs::of(ran);
    store.delete_data_keys(&written, &own.space).await.map_err(store_problem)?;
    let calls = counted.calls.saturating_sub(counted_before.calls);
    let usec = counted.usec.saturating_sub(counted_before.usec);
    let reply = ScriptProfile {
        name,
        version: ready.version,
        iterations,
        errors: iterations - times.len() as u64,
        p50_us: percentile(&times, 50),
        p95_us: percentile(&times, 95),
        p99_us: percentile(&times, 99),
        min_us: times.first().copied(),
        max_us: times.last().copied(),
        mean_us: times.iter().sum::<u64>().checked_div(times.len() as u64),
        per_second: (iterations as f64 / took.as_secs_f64().max(1e-6)) as u64,
        server: ServerProfile { calls, mean_us: usec.checked_div(calls).unwrap_or_default() },
        first_error,
    };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}

/// The runs of a profile, sorted by what came of them.
struct Runs {
    /// Microseconds of those that succeeded, in their order.
    times: Vec<u64>,
    /// Whole names of the keys that they wrote, each once.
    written: Vec<String>,
    first_error: Option<String>,
}

impl Runs {
    fn of(ran: Vec<(Duration, Result<Completed<ScriptRunReply>, Problem>)>) -> Runs {
        let (mut times, mut written, mut first_error) = (Vec::new(), BTreeSet::new(), None);
        for (time, result) in ran {
            match result {
                Ok(completed) => {
                    times.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
                    written.extend(completed.reply.written.into_iter().filter_map(name_of));
                }
                Err(problem) => drop(first_error.get_or_insert(problem.detail().to_owned())),
            }
        }
        times.sort_unstable();
        Runs { times, written: written.into_iter().collect(), first_error }
    }
}

/// The name of a key that a run has written.
fn name_of(value: ScriptValue) -> Option<String> {
    match value {
        ScriptValue::Bytes(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&times, 50), Some(100));
        assert_eq!(percentile(&times, 99), Some(198));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
