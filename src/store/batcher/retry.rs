//! Retries: what is sent again after a reply or a lost connection, how often, and after which pause.
//! `worker` hands every finished batch over to [`BatchWorker::complete`].

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep};

use super::{BatchWorker, Completions, batch::ScriptBatch, connection::SharedConnection};
use crate::store::Failure;

/// The most times that a batch is sent, and the pause before the first repeat. The pause grows with
/// each.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// The batches that are to be sent again.
#[derive(Default)]
pub(super) struct Retry {
    pub batches: Vec<ScriptBatch>,
    pause: bool,
}

impl Retry {
    /// Adds a batch that is sent again only after a pause, which counts as an attempt.
    pub fn after_pause(&mut self, batch: ScriptBatch) {
        self.pause = true;
        self.batches.push(batch);
    }
}

impl BatchWorker {
    /// Completes the calls of batches that were sent, and sends again what may be sent again.
    pub(super) async fn complete(
        &self,
        connection: &mut Option<SharedConnection>,
        mut batches: Vec<ScriptBatch>,
        mut replies: Result<Vec<Value>, Failure>,
        completions: &mut Completions,
    ) {
        let mut attempt = 1;
        // A caller that has waited for a whole timeout gets `outcome_unknown`, and may send its call
        // again.
        let deadline = Instant::now() + self.timeout;
        loop {
            let last = attempt >= ATTEMPTS || Instant::now() >= deadline;
            let mut retry = Retry::default();
            match replies {
                Ok(replies) => {
                    for (batch, reply) in batches.into_iter().zip(replies) {
                        batch.on_reply(reply, last, &mut retry, completions);
                    }
                }
                Err(failure) => {
                    *connection = None;
                    for batch in batches {
                        batch.on_connection_error(&failure, last, &mut retry, completions);
                    }
                }
            }
            if retry.batches.is_empty() {
                return;
            }
            batches = retry.batches;
            if retry.pause {
                attempt += 1;
                completions.deliver();
                sleep(PAUSE * attempt).await;
            }
            replies = self.send(connection, &batches, completions).await.await;
        }
    }
}
