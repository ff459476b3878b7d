//! Pending replies: handing a call to a batch worker and waiting for its result. A script may ask for a
//! prerequisite; it is run here, once for all callers that need it, and the call is sent again.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, mpsc::error::TrySendError, oneshot},
    time::Instant,
};

use super::{
    Context, ErasedOperation, Error, Failure, Library, RawReply, Script, Store,
    batcher::{CallResult, PendingCall, Progress, QueueRoom, StepReply},
    invocation::EncodedInvocation,
    large_values::LARGE_BYTES,
    replicas::note_replicas,
    script::RunOutcome,
    single_flight::Leader,
    topology::Node,
};
use crate::types::Id;

/// The bytes that a call counts for, of `most` in all. One that is larger takes all of them.
fn counted_bytes(invocation: &EncodedInvocation, most: usize) -> u32 {
    u32::try_from(invocation.bytes().min(most)).unwrap_or(u32::MAX)
}

/// An operation that was handed to a batch worker. [`Store::wait`] waits for its reply.
pub struct PendingReply {
    result: Result<oneshot::Receiver<CallResult>, Failure>,
    started: Instant,
}

impl PendingReply {
    /// A call that could not be queued.
    pub(super) fn failed(failure: Failure) -> PendingReply {
        PendingReply { result: Err(failure), started: Instant::now() }
    }

    async fn result(self) -> CallResult {
        // A worker drops a call only when it ends.
        self.result?.await.unwrap_or(Err(Failure::ShuttingDown))
    }
}

impl Store {
    /// Hands an operation to a batch worker, in the operation's own script.
    pub(super) fn enqueue(
        &self,
        operation: &dyn ErasedOperation,
        context: &Context,
    ) -> PendingReply {
        let script = Library::embedded().script(operation.name());
        let invocation = EncodedInvocation::of(operation, &script, context);
        self.enqueue_invocation(&script, invocation, &context.space)
    }

    /// Hands an encoded invocation to the next batch worker. Where the queue has no place or no bytes left,
    /// the pending reply has failed already.
    pub(super) fn enqueue_invocation(
        &self,
        script: &Arc<Script>,
        invocation: EncodedInvocation,
        space: &Id,
    ) -> PendingReply {
        let map = self.0.topology.map();
        let node = map.node_for(space.as_str());
        let is_large = invocation.bytes() > LARGE_BYTES;
        let Some(room) = self.try_room(&invocation, node) else {
            return PendingReply::failed(Failure::Overloaded);
        };
        let host_script = script.host_of(invocation.step);
        let (call, pending) = self.pending_call(script, &host_script, invocation, space, room);
        let queue = match is_large {
            true => &node.large_queue,
            false => node.queue(node.next_worker(self.awaits(script))),
        };
        match queue.try_send(call) {
            Ok(()) => pending,
            Err(TrySendError::Full(_)) => PendingReply::failed(Failure::Overloaded),
            Err(TrySendError::Closed(_)) => PendingReply::failed(Failure::ShuttingDown),
        }
    }

    /// True if a call of this script waits for replicas.
    pub(super) fn awaits(&self, script: &Script) -> bool {
        (self.0.wait.is_some() || script.header.awaits_replicas) && !script.header.read_only
    }

    /// Takes the share of a call of the bytes that calls may have. `None` where they are used up.
    fn try_room(&self, invocation: &EncodedInvocation, node: &Node) -> Option<QueueRoom> {
        let try_take = |room: &Arc<Semaphore>, most| {
            Arc::clone(room).try_acquire_many_owned(counted_bytes(invocation, most)).ok()
        };
        let of_node = match &node.room {
            Some((room, most)) => Some(try_take(room, *most)?),
            None => None,
        };
        Some(QueueRoom { of_all: try_take(&self.0.queue_room, self.0.queue_bytes)?, of_node })
    }

    /// Waits for the share of a call of the bytes that calls may have. `None` where the store has ended.
    pub(super) async fn room(
        &self,
        invocation: &EncodedInvocation,
        node: &Node,
    ) -> Option<QueueRoom> {
        let take = |room: &Arc<Semaphore>, most| {
            Arc::clone(room).acquire_many_owned(counted_bytes(invocation, most))
        };
        let of_node = match &node.room {
            Some((room, most)) => Some(take(room, *most).await.ok()?),
            None => None,
        };
        let of_all = take(&self.0.queue_room, self.0.queue_bytes).await.ok()?;
        Some(QueueRoom { of_all, of_node })
    }

    /// Builds the queue entry and the handle that its caller waits on. `host_script` is the script that
    /// runs the operation: its own, or the composite script. `room` is its share of the bytes.
    pub(super) fn pending_call(
        &self,
        script: &Arc<Script>,
        host_script: &Arc<Script>,
        invocation: EncodedInvocation,
        space: &Id,
        room: QueueRoom,
    ) -> (PendingCall, PendingReply) {
        let (reply, result) = oneshot::channel();
        let started = Instant::now();
        let call = PendingCall {
            host_script: Arc::clone(host_script),
            operation: script.name,
            invocation,
            space: space.to_string(),
            deadline: started + self.0.timeout,
            room,
            stream: None,
            progress: Progress::default(),
            span: PendingCall::current_span(),
            reply,
        };
        (call, PendingReply { result: Ok(result), started })
    }

    /// Waits for the reply of an operation that was handed over before.
    ///
    /// When its script asks for a prerequisite, one caller runs that for all who need it, and the
    /// operation is sent again, for at most one store timeout.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn wait(
        &self,
        mut pending: PendingReply,
        operation: &dyn ErasedOperation,
        context: &Context,
    ) -> Result<RawReply, Error> {
        let started = pending.started;
        let waiting_since = Instant::now();
        let mut leader: Option<Leader<'_>> = None;
        let result = loop {
            match pending.result().await {
                Err(Failure::PrerequisiteRequired { operation: prerequisite, keys })
                    if waiting_since.elapsed() < self.0.timeout =>
                {
                    if leader.as_ref().is_none_or(|leader| !leader.leads(&keys)) {
                        drop(leader.take());
                        leader = Box::pin(self.0.single_flight.lead(&keys)).await;
                    }
                    if leader.is_some() {
                        // What happens seldom is in a box, so that not every call keeps the room for it.
                        let running =
                            Box::pin(self.run_prerequisite(&prerequisite, &keys, context));
                        if let Err(failure) = running.await {
                            break Err(failure);
                        }
                    }
                    pending = self.enqueue(operation, context);
                }
                result => break result,
            }
        };
        let script = Library::embedded().script(operation.name());
        match result {
            Ok(StepReply { replayed, reply, replicas }) => {
                note_replicas(replicas);
                Ok(RawReply { script, reply, replayed, started: Some(started) })
            }
            Err(failure) => {
                script.record(RunOutcome::Failed, started.elapsed());
                Err(Box::pin(self.explain(failure, &context.space)).await.into())
            }
        }
    }

    /// Runs a prerequisite on its keys. Its failures are never an unknown outcome: the operation that
    /// needs it has not run.
    async fn run_prerequisite(
        &self,
        name: &str,
        keys: &[String],
        context: &Context,
    ) -> Result<(), Failure> {
        let script = Library::embedded().script(name);
        let invocation = EncodedInvocation::of_keys(script.name, keys);
        let pending = self.enqueue_invocation(&script, invocation, &context.space);
        match pending.result().await {
            Ok(_) => Ok(()),
            Err(Failure::Torn(cause)) => Err(Failure::Script(cause)),
            Err(failure) => Err(failure.without_effect()),
        }
    }
}
