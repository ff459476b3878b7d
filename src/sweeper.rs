//! The sweeper: a background task that ends records whose time is over and that no call reads. No
//! answer depends on it, because every operation compares times with the clock itself; it keeps
//! memory from filling up. `cli::serve` starts it; `domains` names what expires.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    domains::{Expirable, expirables},
    store::{self, Context, Failure, Shard, Store},
    telemetry::{LoggedFailure, log_failure},
    types::Id,
};

/// Scans through all keys for as long as it is polled, one page of each server about every `period`. Every
/// instance of the service does so, independently of the others.
pub async fn run(store: Store, period: Duration) {
    let mut cursors = HashMap::new();
    loop {
        // A pause of 3/4 to 5/4 of the period, so that instances do not sweep at the same moment.
        let chance = f64::from(Uuid::now_v7().as_bytes()[15]) / 256.0;
        sleep(period.mul_f64(0.75 + chance / 2.0)).await;
        let shards = store.shards();
        // A server that has left the cluster is forgotten.
        cursors.retain(|id, _| shards.iter().any(|shard| shard.id() == *id));
        let pages = shards.iter().map(|shard| {
            let cursor = cursors.get(&shard.id()).copied().unwrap_or_default();
            sweep_page(&store, shard, cursor)
        });
        let swept = join_all(pages).await;
        for (shard, swept) in shards.iter().zip(swept) {
            match swept {
                Ok(next) => drop(cursors.insert(shard.id(), next)),
                // The same page is asked for again after the next pause.
                Err(failure) => tracing::debug!(%failure, "the sweeper had no answer"),
            }
        }
    }
}

/// Reads one page of the scan of a server, ends what has expired on it, and returns the cursor of the next page.
/// A scan begins and ends with the cursor 0. A resource that cannot be swept is logged and left for
/// the next scan.
///
/// # Errors
///
/// The failure of the scan itself.
pub async fn sweep_page(store: &Store, shard: &Shard, cursor: u64) -> Result<u64, Failure> {
    let kinds: Vec<&str> = expirables().map(|expirable| expirable.kind).collect();
    let (next, found) = store.scan(shard, &kinds, cursor).await?;
    for (kind, space, id) in found {
        let Some(expirable) = expirables().find(|expirable| expirable.kind == kind) else {
            continue;
        };
        let context = Context::of_space(space);
        if let Err(error) = expire(store, expirable, &id, &context).await {
            log_failure(&LoggedFailure {
                is_fault: false,
                code: "",
                cause: format!("{error:?}"),
                request_id: "",
                trace_id: None,
                part: format_args!("the sweeper, at {kind}:{id} of {}", context.space),
            });
        }
    }
    Ok(next)
}

/// Ends everything of one resource whose time is over, in as many runs as that takes.
async fn expire(
    store: &Store,
    expirable: &Expirable,
    id: &Id,
    context: &Context,
) -> Result<(), store::Error> {
    let mut more = true;
    while more {
        metrics::counter!("lockstep_swept_total", "kind" => expirable.resource).increment(1);
        more = (expirable.expire)(store, id.clone(), context).await?;
    }
    Ok(())
}
