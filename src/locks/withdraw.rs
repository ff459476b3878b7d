//! `locks/withdraw`: undoes an acquire whose caller has gone, or whose outcome nobody can tell. It has no
//! endpoint; `acquisition` runs it in a task of its own.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    CODES,
    names::{LockNames, bind_processes},
};
use crate::{
    store::{Context, Invocation, Operation, Store},
    types::Code,
};

/// The longest time for which it is tried. What is left then ends by its own time.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Gives up a place in the queues, and a lease.
#[derive(Clone)]
pub struct Withdrawal {
    pub names: Arc<LockNames>,
    /// Id of the lease; empty for one that stays.
    pub lease_id: String,
    /// The waiter as it stands in the queues; empty for a caller who never waited.
    pub waiter: String,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct Withdrawn {
    /// True if there was a lease.
    pub released: bool,
}

impl Operation for Withdrawal {
    const NAME: &'static str = "locks/withdraw";
    const CODES: &'static [Code] = CODES;
    type Reply = Withdrawn;

    fn bind(&self, invocation: &mut Invocation) {
        bind_processes(invocation);
        self.names.bind_keys(invocation);
        invocation.derived_arg("lease_id", &self.lease_id).derived_arg("waiter", &self.waiter);
    }
}

impl Withdrawal {
    /// Runs it, again and again while Redis gives no answer. A second run changes nothing.
    pub async fn run(&self, store: &Store, context: &Context) {
        let (started, mut pause) = (Instant::now(), Duration::from_millis(50));
        loop {
            match store.run(self, context).await {
                Ok(completed) => {
                    let released = completed.reply.released;
                    tracing::debug!(released, "the place of a caller who has gone was given up");
                    return;
                }
                Err(error) if started.elapsed() > GIVE_UP_AFTER => {
                    tracing::warn!(?error, "the place or the lease of a caller who has gone stays");
                    return;
                }
                Err(_) => sleep(pause).await,
            }
            pause = (2 * pause).min(Duration::from_secs(1));
        }
    }
}
