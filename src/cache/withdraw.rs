//! `cache/withdraw`: gives up a lease to fill an entry. It has no endpoint; `lookup` runs it when the caller who was
//! to get the lease has gone, and `fill` when the lease is void.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{CODES, ENTRY, key::CacheKey};
use crate::{
    store::{Context, Invocation, Operation, Store},
    types::Code,
};

/// The longest time for which it is tried. A lease that is left then ends by its own time.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Gives up a lease.
pub struct LeaseWithdrawal {
    pub key: CacheKey,
    pub lease_token: String,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct LeaseWithdrawn {
    /// True if the lease was the living one of its entry.
    pub withdrawn: bool,
}

impl Operation for LeaseWithdrawal {
    const NAME: &'static str = "cache/withdraw";
    const CODES: &'static [Code] = CODES;
    type Reply = LeaseWithdrawn;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .derived_key("entry_key", ENTRY, &self.key)
            .derived_arg("lease_token", &self.lease_token);
    }
}

impl LeaseWithdrawal {
    /// Runs it once. Where Redis gives no answer, the lease ends by its own time.
    pub async fn run_once(&self, store: &Store, context: &Context) -> bool {
        let context = Context::of_space(context.space.clone());
        match store.run(self, &context).await {
            Ok(completed) => {
                let withdrawn = completed.reply.withdrawn;
                tracing::debug!(withdrawn, "a lease to fill a cache entry was given up");
                true
            }
            Err(_) => false,
        }
    }

    /// Runs it, again and again while Redis gives no answer. A second run changes nothing.
    pub async fn run(&self, store: &Store, context: &Context) {
        let (started, mut pause) = (Instant::now(), Duration::from_millis(50));
        while !self.run_once(store, context).await && started.elapsed() < GIVE_UP_AFTER {
            sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(1));
        }
    }
}
