//! A batch worker: a queue, one shared connection, and the loop that turns one into calls on the other.
//! [`super::super::Store::open`] starts the workers.

use std::{future, time::Duration};

use deadpool_redis::Pool;
use futures_util::stream::{FuturesOrdered, StreamExt};
use redis::{Pipeline, Value};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Completions, MAX_STEPS, PendingCall, RunnerArgs,
    batch::{ScriptBatch, group},
    connection::SharedConnection,
};
use crate::store::Failure;

/// The most batches that are on their way at a time.
const MAX_CONCURRENT_BATCHES: usize = 2;

/// Sends what is in its queue. A call that finds the worker idle is sent at once; calls that arrive
/// while a batch is on its way are collected and sent as the next batch, so that many calls share one
/// script under load. There is no timer.
pub(in crate::store) struct BatchWorker {
    pub pool: Pool,
    pub runner_args: RunnerArgs,
    pub timeout: Duration,
}

impl BatchWorker {
    /// Runs until the queue is closed and every call in it has its result. `closing` closes the queue.
    pub async fn run(self, mut queue: mpsc::Receiver<PendingCall>, closing: CancellationToken) {
        let mut connection = None;
        let mut collected = Vec::with_capacity(MAX_STEPS);
        let mut in_flight = FuturesOrdered::new();
        let mut completions = Completions::default();
        let mut open = true;
        while open || !collected.is_empty() || !in_flight.is_empty() {
            // A second batch is pipelined only when it is full, so that Redis goes from one to the
            // other without waiting for the worker.
            let full = collected.len() == MAX_STEPS && in_flight.len() < MAX_CONCURRENT_BATCHES;
            if full || in_flight.is_empty() && !collected.is_empty() {
                let batches = group(&mut collected, &mut completions);
                if !batches.is_empty() {
                    let sent = self.send(&mut connection, &batches, &mut completions).await;
                    in_flight.push_back(async { (batches, sent.await) });
                }
            }
            let room = MAX_STEPS - collected.len();
            tokio::select! {
                biased;
                Some((batches, replies)) = in_flight.next() => {
                    self.complete(&mut connection, batches, replies, &mut completions).await;
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

    /// Returns a future of one reply a batch, or of the failure of all. The future sends when it is
    /// first polled.
    pub(super) async fn send(
        &self,
        connection: &mut Option<SharedConnection>,
        batches: &[ScriptBatch],
        completions: &mut Completions,
    ) -> impl Future<Output = Result<Vec<Value>, Failure>> + Send + use<> {
        if connection.is_none() {
            // Connecting takes a while, and nobody should wait for it with a result at hand.
            completions.deliver();
        }
        let connected = self.connect(connection).await;
        let (count, time_limit) = (batches.len(), self.timeout);
        let mut pipeline = Pipeline::with_capacity(count);
        for batch in batches {
            metrics::histogram!("lockstep_coalesced_steps").record(batch.calls.len() as f64);
            let steps = batch.calls.iter().map(|call| &call.invocation);
            let script = &batch.calls[0].host_script;
            self.runner_args.encode(&mut pipeline, script, batch.send_source, steps);
        }
        async move {
            let unknown = |cause: String| Failure::Unknown { cause, retry_safe: false };
            let mut connected = connected?;
            match timeout(time_limit, connected.send_packed_commands(&pipeline, 0, count)).await {
                Ok(Ok(replies)) if replies.len() == count => Ok(replies),
                Ok(Ok(_)) => Err(unknown("replies are missing".to_owned())),
                Ok(Err(error)) => Err(unknown(error.to_string())),
                Err(_) => Err(unknown(format!("no reply within {} ms", time_limit.as_millis()))),
            }
        }
    }
}
