//! A batch worker: a queue, one shared connection, and the loop that turns one into calls on the other.
//! [`super::super::Store::open`] starts the workers.

use std::{
    future,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::stream::{FuturesOrdered, StreamExt};
use redis::{Pipeline, Value};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Completions, PendingCall, RunnerArgs,
    batch::{ScriptBatch, group},
    connection::SharedConnection,
};
use crate::store::{
    Failure, HostPort,
    activity::ConnectionActivity,
    connection::{Connection, Durability, Pool, Route, Unanswered, Wait, ask_role, is_replica},
    topology::Topology,
};

/// The most batches that are on their way at a time.
const MAX_CONCURRENT_BATCHES: usize = 2;

/// Sends what is in its queue. A call that finds the worker idle is sent at once; calls that arrive
/// while a batch is on its way are collected and sent as the next batch, so that many calls share one
/// script under load. There is no timer.
pub(in crate::store) struct BatchWorker {
    /// The id and the address of its node, and its number among the workers of that.
    pub node: u64,
    pub host_port: Option<HostPort>,
    pub number: usize,
    pub topology: Weak<Topology>,
    pub route: Arc<Route>,
    pub pool: Pool,
    pub runner_args: RunnerArgs,
    pub timeout: Duration,
    /// What its writes wait for; of a wait that no setting demands only where the server has replicas.
    pub wait: Option<Wait>,
    /// The most calls of one batch.
    pub max_calls: usize,
    pub activity: Arc<ConnectionActivity>,
}

impl BatchWorker {
    /// Runs until the queue is closed and every call in it has its result. `closing` closes the queue.
    pub async fn run(self, mut queue: mpsc::Receiver<PendingCall>, closing: CancellationToken) {
        let mut connection = None;
        let mut collected = Vec::with_capacity(self.max_calls);
        let mut in_flight = FuturesOrdered::new();
        let mut completions = Completions::default();
        let mut open = true;
        while open || !collected.is_empty() || !in_flight.is_empty() {
            // A second batch is pipelined only when it is full, so that Redis goes from one to the
            // other without waiting for the worker.
            let full =
                collected.len() == self.max_calls && in_flight.len() < MAX_CONCURRENT_BATCHES;
            if in_flight.is_empty() && !collected.is_empty() {
                // Not while others are on their way: one of those may be redirected too, and comes first.
                self.hand_over_misplaced(&mut collected);
            }
            if full || in_flight.is_empty() && !collected.is_empty() {
                let batches = group(&mut collected, &mut completions);
                if !batches.is_empty() {
                    let deadline = self.deadline(&batches);
                    let sent =
                        self.send(&mut connection, &batches, deadline, &mut completions).await;
                    in_flight.push_back(async move { (batches, deadline, sent.await) });
                }
            }
            let room = self.max_calls - collected.len();
            tokio::select! {
                biased;
                Some((batches, deadline, sent)) = in_flight.next() => {
                    self.complete(&mut connection, batches, deadline, sent, &mut completions).await;
                }
                // This arm comes after the one above, so the next batch has been sent by now.
                () = future::ready(()), if !completions.is_empty() => completions.deliver(),
                taken = queue.recv_many(&mut collected, room), if open && room > 0 => {
                    open = taken > 0;
                }
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                else => {}
            }
        }
        completions.deliver();
    }

    /// The moment at which the calls of these batches have their results, at the latest: a store timeout
    /// for the way through the queue, and one for the reply.
    fn deadline(&self, batches: &[ScriptBatch]) -> Instant {
        let calls = batches.iter().flat_map(|batch| &batch.calls);
        let oldest = calls.map(|call| call.deadline).min();
        oldest.unwrap_or_else(Instant::now) + self.timeout
    }

    /// Returns a future of the replies, one a batch, which ends before `deadline`. The future sends when
    /// it is first polled. Now and then the role of the server is asked for in front of the scripts.
    pub(super) async fn send(
        &self,
        connection: &mut Option<SharedConnection>,
        batches: &[ScriptBatch],
        deadline: Instant,
        completions: &mut Completions,
    ) -> impl Future<Output = Sent> + Send + use<> {
        if connection.is_none() {
            // Connecting takes a while, and nobody should wait for it with a result at hand.
            completions.deliver();
        }
        let connected = self.connect(connection, deadline).await;
        let (connected, wait) = self.decide_wait(connection, connected).await;
        let mut pipeline = Pipeline::with_capacity(batches.len() + 1);
        let asks_role = connected.as_ref().is_ok_and(Connection::needs_role_check);
        if asks_role {
            ask_role(&mut pipeline);
        }
        for batch in batches {
            metrics::histogram!("lockstep_coalesced_steps").record(batch.calls.len() as f64);
            if batch.send_source {
                batch.calls[0].host_script.count_load();
            }
            batch.encode(&self.runner_args, &mut pipeline);
        }
        let time_limit = self.timeout;
        let spans: Vec<_> = batches.iter().flat_map(ScriptBatch::spans).collect();
        async move {
            // They end with the replies.
            let _spans = spans;
            let mut connected = match connected {
                Ok(connected) => connected,
                Err(failure) => return Sent::NotConnected(failure),
            };
            let generation = connected.generation();
            let left = deadline.saturating_duration_since(Instant::now()).min(time_limit);
            match connected.send_and_wait(&pipeline, left, wait).await {
                Ok((mut replies, durability)) => {
                    let role = asks_role.then(|| Role::of(&replies.remove(0)));
                    Sent::Complete { replies, role, durability, generation }
                }
                Err(unanswered) => Sent::Unanswered { unanswered, generation },
            }
        }
    }
}

/// What became of batches that were to be sent.
pub(super) enum Sent {
    /// There was no connection to send them on.
    NotConnected(Failure),
    /// They were sent on a connection of `generation`, and the replies did not come.
    Unanswered { unanswered: Unanswered, generation: u64 },
    /// Each has a reply. `role` is that of the server, where it was asked for.
    Complete { replies: Vec<Value>, role: Option<Role>, durability: Durability, generation: u64 },
}

/// The role of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
}

impl Role {
    /// The role by the reply to [`ask_role`].
    fn of(reply: &Value) -> Role {
        if is_replica(reply) { Role::Replica } else { Role::Primary }
    }
}
