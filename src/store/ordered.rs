//! Ordered queues: operations that run in the order in which they are submitted. `bulk` has one for each
//! stream.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::{
    Context, ErasedOperation, Failure, Library, PendingReply, Store, invocation::EncodedInvocation,
    operation::Composite, topology::Node,
};

/// A handle on the batch workers of one number. Operations of a space that are submitted to it run in their order:
/// they go through one queue, and all of them run in the composite script, whichever operations they are. Where
/// the slot of the space moves to another node, the queue of that one gets the next operation when all before it
/// have ended.
pub struct OrderedQueue {
    store: Store,
    worker: usize,
    node: Mutex<Option<Arc<Node>>>,
    /// The operations that have not ended.
    running: TaskTracker,
}

impl Store {
    /// Opens an ordered queue at the next batch worker.
    pub fn ordered(&self) -> OrderedQueue {
        let script = Library::embedded().script(Composite::NAME);
        let nodes = &self.0.topology.map().nodes;
        // All nodes have as many workers.
        let worker = nodes[0].next_worker(self.awaits(&script));
        let (node, running) = (Mutex::default(), TaskTracker::new());
        OrderedQueue { store: self.clone(), worker, node, running }
    }
}

impl OrderedQueue {
    /// Hands an operation over as soon as the worker's queue has room. [`Store::wait`] waits for its
    /// reply.
    pub async fn submit(&self, operation: &dyn ErasedOperation, context: &Context) -> PendingReply {
        let library = Library::embedded();
        let script = library.script(operation.name());
        let invocation = EncodedInvocation::of(operation, &script, context);
        let host_script = library.script(Composite::NAME);
        // Held until the call is in its queue, or a later one could come before it.
        let mut last = self.node.lock().await;
        let node = self.store.0.topology.node_for(context.space.as_str());
        if last.as_ref().is_some_and(|last| last.id != node.id) {
            self.running.close();
            self.running.wait().await;
            self.running.reopen();
        }
        let node = last.insert(node);
        let Some(room) = self.store.room(&invocation, node).await else {
            return PendingReply::failed(Failure::ShuttingDown);
        };
        let (mut call, pending) =
            self.store.pending_call(&script, &host_script, invocation, &context.space, room);
        call.stream = Some(self.running.token());
        match node.queue(self.worker).send(call).await {
            Ok(()) => pending,
            Err(_) => PendingReply::failed(Failure::ShuttingDown),
        }
    }
}
