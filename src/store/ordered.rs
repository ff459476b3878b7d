//! Ordered queues: operations that run in the order in which they are submitted. `bulk` has one for each
//! stream.

use std::sync::Arc;

use super::{
    Context, ErasedOperation, Failure, Library, PendingReply, Store, invocation::EncodedInvocation,
    operation::Composite,
};

/// A handle on one batch worker. Operations that are submitted to it run in their order: they go through
/// one queue, and all of them run in the composite script, whichever operations they are.
pub struct OrderedQueue {
    store: Store,
    worker: usize,
}

impl Store {
    /// Opens an ordered queue at the next batch worker.
    pub fn ordered(&self) -> OrderedQueue {
        let worker = self.next_queue(&Library::embedded().script(Composite::NAME));
        OrderedQueue { store: self.clone(), worker }
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
        let bytes = self.store.counted_bytes(&invocation);
        let inner = &self.store.0;
        let Ok(room) = Arc::clone(&inner.queue_room).acquire_many_owned(bytes).await else {
            return PendingReply::failed(Failure::ShuttingDown);
        };
        let (call, pending) =
            self.store.pending_call(&script, &host_script, invocation, &context.space, room);
        match inner.queues[self.worker].send(call).await {
            Ok(()) => pending,
            Err(_) => PendingReply::failed(Failure::ShuttingDown),
        }
    }
}
