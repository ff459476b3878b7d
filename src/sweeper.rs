//! Tidies what has ended and nobody looks at. Nothing waits for it: every call goes by the clock.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    accounts::Expire,
    store::{Context, Failure, Store},
};

/// Walks through all keys, one page every `period`, for as long as the service runs.
pub async fn keep_tidy(store: Store, period: Duration) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cursor = 0;
    loop {
        ticks.tick().await;
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
    let (next, accounts) = store.scan(Expire::KIND, cursor).await?;
    for (space, account_id) in accounts {
        let context = Context { space, idempotency_key: None };
        let expire = Expire(account_id);
        loop {
            match store.run(&expire, &context).await {
                Ok(done) if done.reply.more == 1 => {}
                Ok(_) => break,
                Err(error) => {
                    let account = expire.0.as_str();
                    tracing::warn!(?error, account, "the sweeper left an account as it is");
                    break;
                }
            }
        }
    }
    Ok(next)
}
