//! Retries: what is sent again after a reply or a lost connection, how often, and after which pause.
//! `worker` hands every finished batch over to [`BatchWorker::complete`].

use std::{sync::Arc, time::Duration};

use redis::Pipeline;
use tokio::time::{Instant, sleep};

use super::{
    BatchWorker, Completions, PendingCall,
    batch::ScriptBatch,
    connection::SharedConnection,
    worker::{Role, Sent},
};
use crate::store::{
    Failure,
    connection::{Unanswered, replica},
};

/// The most times that a batch is sent, and the pause before the first repeat. The pause grows with
/// each. Redirects do not count.
const ATTEMPTS: u8 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// The batches that are to be sent again.
pub(super) struct Retry {
    pub batches: Vec<ScriptBatch>,
    /// Batches whose slot another node serves, or none at present. They do not wait for others to be sent again, and
    /// the others do not wait for them.
    pub of_slots: Vec<(Failure, ScriptBatch)>,
    /// True if the server cannot serve now, so that the next attempt is made on a new connection: its
    /// address may lead to another server by then.
    pub leave: bool,
    pause: bool,
    deadline: Instant,
}

impl Retry {
    fn until(deadline: Instant) -> Retry {
        let (batches, of_slots) = (Vec::new(), Vec::new());
        Retry { batches, of_slots, leave: false, pause: false, deadline }
    }

    /// True if a batch is not sent again after a pause.
    pub fn is_over(&self, batch: &ScriptBatch) -> bool {
        batch.pauses() + 1 >= ATTEMPTS || Instant::now() >= self.deadline
    }

    /// Adds a batch that is sent again only after a pause, which counts as an attempt.
    pub fn after_pause(&mut self, mut batch: ScriptBatch) {
        batch.count_pause();
        self.pause = true;
        self.batches.push(batch);
    }
}

/// The pause before a batch is sent again that has waited `pauses` times, this one among them.
fn pause_before(pauses: u8) -> Duration {
    PAUSE * u32::from(pauses + 1)
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
        loop {
            let mut retry = Retry::until(deadline);
            self.read(connection, batches, sent, &mut retry, completions);
            for (failure, batch) in std::mem::take(&mut retry.of_slots) {
                self.on_slot_elsewhere(&failure, batch, &mut retry, completions);
            }
            if retry.batches.is_empty() {
                return;
            }
            batches = retry.batches;
            if retry.pause {
                completions.deliver();
                let pauses = batches.iter().map(ScriptBatch::pauses).max().unwrap_or_default();
                sleep(pause_before(pauses)).await;
                batches.retain_mut(|batch| !self.hand_over_misplaced(&mut batch.calls));
                if batches.is_empty() {
                    return;
                }
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
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        match sent {
            Sent::Complete { replies, role, durability, generation } => {
                if let (Some(Role::Primary), Some(shared)) = (role, connection.as_mut()) {
                    shared.role_is_checked();
                }
                let mut replies = replies.into_iter();
                for batch in batches {
                    // Where ASKING was refused, so is the script.
                    let reply = replies.nth(usize::from(batch.is_asking())).unwrap_or_default();
                    if role == Some(Role::Replica) && batch.is_read_only() {
                        // What a replica says may have been overtaken long ago.
                        batch.on_refusal(&replica(), retry, completions);
                    } else {
                        batch.on_reply(reply, &durability, retry, completions);
                    }
                }
                if retry.leave || durability.is_lost() || role == Some(Role::Replica) {
                    self.leave(connection, generation);
                }
            }
            Sent::NotConnected(failure) => {
                self.request_refresh();
                for batch in batches {
                    batch.on_refusal(&failure, retry, completions);
                }
            }
            Sent::Unanswered { unanswered, generation } => {
                self.leave(connection, generation);
                self.on_lost_replies(batches, &unanswered, retry, completions);
            }
        }
    }

    /// Sends a batch to the node that serves its slot. Where none does at present, the calls are sent again after a
    /// pause, which holds up nothing else, except that calls of a stream keep their order.
    fn on_slot_elsewhere(
        &self,
        failure: &Failure,
        mut batch: ScriptBatch,
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        let topology = self.topology.upgrade().filter(|topology| topology.may_be_cluster());
        let Some(topology) = topology else {
            return batch.on_refusal(failure, retry, completions);
        };
        topology.request_refresh();
        if let Failure::Redirected(redirect) = failure
            && batch.count_hop(redirect.ask)
            && let Some(node) = topology.follow(redirect, self.host_port.as_ref())
        {
            match node.id == self.node {
                true => retry.batches.push(batch),
                false => topology.hand_over(batch.calls, &node, self.number),
            }
        } else if batch.is_ordered() || retry.is_over(&batch) {
            batch.on_refusal(failure, retry, completions);
        } else {
            batch.count_pause();
            let pause = pause_before(batch.pauses());
            topology.hand_over_later(batch.calls, self.number, pause);
        }
    }

    /// Hands calls over to the nodes that own their slots by now, where these are others, and returns true if none
    /// is left.
    pub(super) fn hand_over_misplaced(&self, calls: &mut Vec<PendingCall>) -> bool {
        let Some(topology) = self.topology.upgrade() else { return false };
        let map = topology.map();
        if map.is_cluster() {
            let is_elsewhere = |call: &mut PendingCall| {
                !call.progress.asking && map.node_for(&call.space).id != self.node
            };
            for call in calls.extract_if(.., is_elsewhere) {
                let node = Arc::clone(map.node_for(&call.space));
                topology.hand_over([call], &node, self.number);
            }
        }
        calls.is_empty()
    }

    fn request_refresh(&self) {
        if let Some(topology) = self.topology.upgrade() {
            topology.request_refresh();
        }
    }

    /// Sorts batches whose replies were lost by whether all of a batch was written. One that was not has
    /// not run.
    fn on_lost_replies(
        &self,
        batches: Vec<ScriptBatch>,
        unanswered: &Unanswered,
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
                batch.on_lost_reply(&failure, retry, completions);
            } else {
                batch.on_refusal(&failure, retry, completions);
            }
        }
    }

    /// Leaves the server of a connection of `generation`. The worker may have another connection by now,
    /// which stays.
    fn leave(&self, connection: &mut Option<SharedConnection>, generation: u64) {
        self.route.leave(generation);
        self.request_refresh();
        if connection.as_ref().is_some_and(|shared| shared.generation() == generation) {
            *connection = None;
        }
    }
}
