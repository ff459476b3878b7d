//! The batcher: the way of a call from the queue to Redis and back. [`super::Store`] puts pending calls
//! into the queue of a batch worker.
//!
//! Read in this order: `worker` takes calls from the queue and decides when a batch is sent; `batch`
//! groups calls into scripts and reads replies; `wire` writes a script and its arguments as Redis gets
//! them; `connection` makes the shared connection; `retry` sends again what may be sent again, here or at
//! another node.

mod batch;
mod connection;
mod retry;
mod wire;
mod worker;

use std::sync::Arc;

use redis::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Level, Span};

use super::{Failure, Script, invocation::EncodedInvocation};

pub(super) use wire::RunnerArgs;
pub(super) use worker::BatchWorker;

/// The most steps in one script; a step is one operation. A thousand would block Redis for tens of
/// milliseconds.
pub(super) const MAX_STEPS: usize = 128;

/// The most calls with large values that are sent at a time.
pub(super) const MAX_LARGE_CALLS: usize = 4;

/// The most keys in one script, well under the limit of Lua's `unpack`.
pub(super) const MAX_KEYS: usize = 2000;

/// The most arguments of one operation, for the same reason.
pub(super) const MAX_ARGS: usize = 7000;

/// An operation on its way to Redis, with the sender through which its caller gets the reply.
pub(super) struct PendingCall {
    /// The script that runs it: its own, or the composite script.
    pub host_script: Arc<Script>,
    /// The name of the operation.
    pub operation: &'static str,
    pub invocation: EncodedInvocation,
    /// All keys of one script share a hash slot, so calls of different spaces never share a script.
    pub space: String,
    /// A call that is still in the queue at this moment fails with [`Failure::Overloaded`].
    pub deadline: Instant,
    /// Its share of the bytes that all calls may have, given back with it.
    #[expect(dead_code, reason = "it counts until it is dropped")]
    pub room: QueueRoom,
    /// Present where the call is one of a stream, whose calls keep their order. The stream sees when it is dropped.
    pub stream: Option<TaskTrackerToken>,
    pub progress: Progress,
    /// The span in which it was handed over; none where nobody asked for spans.
    pub span: Span,
    pub reply: oneshot::Sender<CallResult>,
}

/// The share of a call of the bytes that calls may have: of all, and of those of its node where there are several.
pub(super) struct QueueRoom {
    #[expect(dead_code, reason = "it counts until it is dropped")]
    pub of_all: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "it counts until it is dropped")]
    pub of_node: Option<OwnedSemaphorePermit>,
}

/// How far a call has come that was sent before and is to be sent again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The number of times that it has waited to be sent again.
    pub pauses: u8,
    /// The number of redirects that it has followed since it last waited.
    pub hops: u8,
    /// True if its slot is migrating and it is to be sent to the target, behind ASKING.
    pub asking: bool,
    /// True if it was sent before and no reply came, so that it may have run already.
    pub may_have_run: bool,
}

/// The result that a pending call's caller gets.
pub(super) type CallResult = Result<StepReply, Failure>;

/// The runner's reply for one step.
pub(super) struct StepReply {
    pub replayed: bool,
    pub reply: Value,
    /// The number of replicas that have what it wrote, where it waited for them.
    pub replicas: Option<u32>,
}

impl PendingCall {
    /// The span to hand a call over in. Looking for it costs nothing where spans are off.
    pub fn current_span() -> Span {
        if tracing::level_enabled!(Level::DEBUG) { Span::current() } else { Span::none() }
    }

    /// True if it runs in the composite script, as the lines of a stream do. Such calls share a
    /// script only with one another: when a step of [`super::operation::Composite`] refuses, its whole
    /// script is sent again step by step, and lines would lose their order.
    fn runs_in_host(&self) -> bool {
        self.operation != self.host_script.name
    }

    /// True if sending it twice has no second effect.
    fn is_retry_safe(&self) -> bool {
        let header = &self.host_script.header;
        header.read_only || header.safe_to_repeat || !self.invocation.fingerprint.is_empty()
    }

    /// The failure of this call, whose last attempt failed so.
    fn outcome(&self, failure: &Failure) -> Failure {
        if self.host_script.header.read_only {
            // A read has no effect to be unsure of.
            failure.clone().without_effect()
        } else if self.progress.may_have_run && failure.says_nothing_of_before() {
            // The fate of a repeat says nothing of the first attempt.
            failure.as_unknown(self.is_retry_safe())
        } else {
            failure.clone()
        }
    }

    /// Ends the call, which is not sent any more.
    pub fn fail(self, failure: &Failure) {
        let failure = self.outcome(failure);
        // The caller may have gone.
        let _ = self.reply.send(Err(failure));
    }
}

/// Finished calls whose results are not yet delivered. Delivery waits until the next batch is sent, so
/// that Redis is not idle meanwhile.
#[derive(Default)]
struct Completions(Vec<(oneshot::Sender<CallResult>, CallResult)>);

impl Completions {
    fn push(&mut self, call: PendingCall, result: CallResult) {
        self.0.push((call.reply, result));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn deliver(&mut self) {
        for (reply, result) in self.0.drain(..) {
            // The caller may have gone. The effect stays.
            let _ = reply.send(result);
        }
    }
}
