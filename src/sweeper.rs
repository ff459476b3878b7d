//! Tidies what has ended and nobody looks at. Nothing waits for it: every call goes by the clock.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    accounts, inventory,
    store::{self, Context, Failure, Store},
    types::Id,
};

/// Walks through all keys, one page about every `period`, for as long as the service runs. Every
/// instance does so, and none waits for another.
pub async fn run(store: Store, period: Duration) {
    let mut cursor = 0;
    loop {
        // Between three and five quarters of it, so that instances do not keep step.
        let chance = f64::from(Uuid::now_v7().as_bytes()[15]) / 256.0;
        sleep(period.mul_f64(0.75 + chance / 2.0)).await;
        match tidy(&store, cursor).await {
            Ok(next) => cursor = next,
            // Where the store cannot answer now, it can be asked for the same page later.
            Err(failure) => tracing::debug!(%failure, "the sweeper had no answer"),
        }
    }
}

/// Tidies what one page of the scan finds, and answers the cursor of the next page.
///
/// # Errors
///
/// Why the store did not tell what there is.
pub async fn tidy(store: &Store, cursor: u64) -> Result<u64, Failure> {
    let kinds = [accounts::Expire::KIND, inventory::Expire::KIND];
    let (next, things) = store.scan(&kinds, cursor).await?;
    for (kind, space, id) in things {
        let context = Context { space, idempotency_key: None };
        if let Err(error) = expire(store, kind, &id, &context).await {
            tracing::warn!(?error, kind, id = id.as_str(), "the sweeper left something as it is");
        }
    }
    Ok(next)
}

/// Takes back what has ended of one thing, in as many goes as it takes.
async fn expire(store: &Store, kind: &str, id: &Id, context: &Context) -> Result<(), store::Error> {
    let kind_of_thing = if kind == accounts::Expire::KIND { "account" } else { "product" };
    let mut more = 1;
    while more == 1 {
        metrics::counter!("lockstep_swept_total", "kind" => kind_of_thing).increment(1);
        more = if kind == accounts::Expire::KIND {
            store.run(&accounts::Expire(id.clone()), context).await?.reply.more
        } else {
            store.run(&inventory::Expire(id.clone()), context).await?.reply.more
        };
    }
    Ok(())
}
