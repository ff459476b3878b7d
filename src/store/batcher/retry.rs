//! Retries: what is sent again after a reply or a lost connection, how often, and after which pause.
//! `worker` hands every finished batch over to [`BatchWorker::complete`].

use std::time::Duration;

use redis::Pipeline;
use tokio::time::{Instant, sleep};

use super::{
    BatchWorker, Completions,
    batch::ScriptBatch,
    connection::SharedConnection,
    worker::{Role, Sent},
};
use crate::store::connection::{Unanswered, replica};

/// The most times that a batch is sent, and the pause before the first repeat. The pause grows with
/// each.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// The batches that are to be sent again.
#[derive(Default)]
pub(super) struct Retry {
    pub batches: Vec<ScriptBatch>,
    /// True if the server cannot serve now, so that the next attempt is made on a new connection: its
    /// address may lead to another server by then.
    pub leave: bool,
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
    /// Completes the calls of batches that were sent, and sends again what may be sent again, until
    /// `deadline`.
    pub(super) async fn complete(
        &self,
        connection: &mut Option<SharedConnection>,
        mut batches: Vec<ScriptBatch>,
        deadline: Instant,
        mut sent: Sent,
        completions: &mut Completions,
    ) {
        let mut attempt = 1;
        loop {
            let last = attempt >= ATTEMPTS || Instant::now() >= deadline;
            let mut retry = Retry::default();
            self.read(connection, batches, sent, last, &mut retry, completions);
            if retry.batches.is_empty() {
                return;
            }
            batches = retry.batches;
            if retry.pause {
                attempt += 1;
                completions.deliver();
                sleep(PAUSE * attempt).await;
            }
            sent = self.send(connection, &batches, deadline, completions).await.await;
        }
    }

    /// Completes the calls that have a result, and collects in `retry` what is sent again.
    fn read(
        &self,
        connection: &mut Option<SharedConnection>,
        batches: Vec<ScriptBatch>,
        sent: Sent,
        last: bool,
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        match sent {
            Sent::Complete { replies, role, durability, generation } => {
                if let (Some(Role::Primary), Some(shared)) = (role, connection.as_mut()) {
                    shared.role_is_checked();
                }
                for (batch, reply) in batches.into_iter().zip(replies) {
                    if role == Some(Role::Replica) && batch.is_read_only() {
                        // What a replica says may have been overtaken long ago.
                        batch.on_refusal(&replica(), last, retry, completions);
                    } else {
                        batch.on_reply(reply, &durability, last, retry, completions);
                    }
                }
                if retry.leave || durability.is_lost() || role == Some(Role::Replica) {
                    self.leave(connection, generation);
                }
            }
            Sent::NotConnected(failure) => {
                for batch in batches {
                    batch.on_refusal(&failure, last, retry, completions);
                }
            }
            Sent::Unanswered { unanswered, generation } => {
                self.leave(connection, generation);
                self.on_lost_replies(batches, &unanswered, last, retry, completions);
            }
        }
    }

    /// Sorts batches whose replies were lost by whether all of a batch was written. One that was not has
    /// not run.
    fn on_lost_replies(
        &self,
        batches: Vec<ScriptBatch>,
        unanswered: &Unanswered,
        last: bool,
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        let mut end = 0;
        for batch in batches {
            let mut pipeline = Pipeline::new();
            batch.encode(&self.runner_args, &mut pipeline);
            end += pipeline.get_packed_pipeline().len() as u64;
            let failure = unanswered.failure(end, false);
            if failure.may_have_written() {
                batch.on_lost_reply(&failure, last, retry, completions);
            } else {
                batch.on_refusal(&failure, last, retry, completions);
            }
        }
    }

    /// Leaves the server of a connection of `generation`. The worker may have another connection by now,
    /// which stays.
    fn leave(&self, connection: &mut Option<SharedConnection>, generation: u64) {
        self.route.leave(generation);
        if connection.as_ref().is_some_and(|shared| shared.generation() == generation) {
            *connection = None;
        }
    }
}
