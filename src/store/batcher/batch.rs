//! Batches: pending calls that share a script, and the reading of Redis' reply to one. `worker` sends
//! them, `retry` sends them again.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use redis::{Pipeline, Value};
use tokio::time::Instant;
use tracing::Span;

use super::{
    Completions, MAX_KEYS, MAX_STEPS, PendingCall, Progress, RunnerArgs, StepReply, retry::Retry,
};
use crate::store::{Failure, connection::Durability, topology::MAX_HOPS};

/// Calls of one script and one space, sent as one EVALSHA.
pub(super) struct ScriptBatch {
    /// Never empty.
    pub calls: Vec<PendingCall>,
    /// True to send the source by EVAL, because the server does not know its SHA-1.
    pub send_source: bool,
}

/// Groups calls by script and space; within a batch they keep their order. Calls that nobody waits for
/// any more are dropped, calls past their deadline fail: nothing was sent of either, now.
pub(super) fn group(
    collected: &mut Vec<PendingCall>,
    completions: &mut Completions,
) -> Vec<ScriptBatch> {
    let mut batches: Vec<ScriptBatch> = Vec::new();
    let now = Instant::now();
    for call in collected.drain(..) {
        if call.reply.is_closed() {
            continue;
        }
        if call.deadline < now {
            let failure = match call.progress.pauses + call.progress.hops {
                0 => Failure::Overloaded,
                _ => Failure::Unavailable("no node served its slot in time".to_owned()),
            };
            let failure = call.outcome(&failure);
            completions.push(call, Err(failure));
            continue;
        }
        match batches.iter_mut().rev().find(|batch| batch.is_for(&call)) {
            Some(batch) if batch.has_room_for(&call) => batch.calls.push(call),
            _ => batches.push(ScriptBatch::of(call)),
        }
    }
    batches
}

impl ScriptBatch {
    fn of(call: PendingCall) -> ScriptBatch {
        ScriptBatch { calls: vec![call], send_source: false }
    }

    fn is_for(&self, call: &PendingCall) -> bool {
        let first = &self.calls[0];
        Arc::ptr_eq(&first.host_script, &call.host_script)
            && first.space == call.space
            && first.runs_in_host() == call.runs_in_host()
            && first.progress.asking == call.progress.asking
    }

    fn has_room_for(&self, call: &PendingCall) -> bool {
        let weight: usize = self.calls.iter().map(|call| call.invocation.weight).sum();
        let keys: usize = self.calls.iter().map(|call| call.invocation.keys.len()).sum();
        keys + call.invocation.keys.len() <= MAX_KEYS
            && weight + call.invocation.weight <= MAX_STEPS
    }

    /// Adds the script and its steps to a pipeline, always with the same bytes; behind ASKING, where the node
    /// does not own the slot yet. The node takes that for the command that follows, so nothing may come between.
    pub fn encode(&self, runner_args: &RunnerArgs, pipeline: &mut Pipeline) {
        if self.is_asking() {
            pipeline.cmd("ASKING");
        }
        let steps = self.calls.iter().map(|call| &call.invocation);
        runner_args.encode(pipeline, &self.calls[0].host_script, self.send_source, steps);
    }

    /// Spans of the way to Redis and back: one in the span of each call that has one.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        static BATCHES: AtomicI64 = AtomicI64::new(0);
        let traced = || self.calls.iter().filter(|call| !call.span.is_disabled());
        let number = traced().next().map(|_| BATCHES.fetch_add(1, Ordering::Relaxed));
        traced().map(move |call| {
            tracing::debug_span!(
                parent: &call.span,
                "batch",
                otel.kind = "client",
                db.system.name = "redis",
                batch.number = number,
                batch.script = call.host_script.name,
                // The exporter has numbers for i64 only, and texts for the others.
                batch.calls = self.calls.len() as i64,
            )
        })
    }

    /// True if the script writes nothing, so that a replica would run it.
    pub fn is_read_only(&self) -> bool {
        self.calls[0].host_script.header.read_only
    }

    /// True if it is sent behind ASKING.
    pub fn is_asking(&self) -> bool {
        self.calls[0].progress.asking
    }

    /// True if its calls are of streams, which keep their order.
    pub fn is_ordered(&self) -> bool {
        self.calls[0].stream.is_some()
    }

    /// The number of times that its calls have waited to be sent again.
    pub fn pauses(&self) -> u8 {
        self.calls.iter().map(|call| call.progress.pauses).max().unwrap_or_default()
    }

    /// Counts a pause, after which the calls follow redirects anew.
    pub fn count_pause(&mut self) {
        let pauses = self.pauses() + 1;
        for call in &mut self.calls {
            call.progress = Progress { pauses, hops: 0, asking: false, ..call.progress };
        }
    }

    /// Counts a redirect. Returns false where the calls have followed too many.
    pub fn count_hop(&mut self, asking: bool) -> bool {
        let mut hops = 0;
        for call in &mut self.calls {
            call.progress.hops += 1;
            call.progress.asking = asking;
            hops = hops.max(call.progress.hops);
        }
        hops <= MAX_HOPS
    }

    /// Reads the server's reply: completes the calls, or decides by the kind of an error whether they
    /// are sent again.
    pub fn on_reply(
        mut self,
        reply: Value,
        durability: &Durability,
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        match reply {
            Value::Array(values) if values.len() == 2 * self.calls.len() => {
                let replicas = match durability.confirm(false) {
                    Ok(replicas) => replicas,
                    Err(failure) => {
                        return self.on_missed_replicas(&failure, durability, retry, completions);
                    }
                };
                let mut values = values.into_iter();
                for call in self.calls {
                    let replayed = values.next() == Some(Value::Int(1));
                    let reply = values.next().unwrap_or_default();
                    completions.push(call, Ok(StepReply { replayed, reply, replicas }));
                }
            }
            Value::ServerError(error) if error.code() == "NOSCRIPT" && !self.send_source => {
                self.send_source = true;
                retry.batches.push(self);
            }
            Value::ServerError(error) => {
                let failure = Failure::from_server_error(&error);
                if let Failure::Redirected(_) | Failure::SlotUnavailable(_) = failure {
                    retry.of_slots.push((failure, self));
                } else if failure.is_transient() {
                    retry.leave = true;
                    self.on_refusal(&failure, retry, completions);
                } else if failure.is_script_error() && self.calls.len() > 1 {
                    // Nothing was written. Sent alone, every call but the one at fault will work.
                    retry.batches.extend(self.calls.into_iter().map(ScriptBatch::of));
                } else {
                    self.fail(&failure, completions);
                }
            }
            other => self.fail(&Failure::UnexpectedReply(format!("{other:?}")), completions),
        }
    }

    /// Decides for a batch that has certainly not run: it is sent again, unless this was the last
    /// attempt.
    pub fn on_refusal(self, failure: &Failure, retry: &mut Retry, completions: &mut Completions) {
        if retry.is_over(&self) || !failure.is_transient() {
            self.fail(failure, completions);
        } else {
            retry.after_pause(self);
        }
    }

    /// Decides for a batch that may have run and got no reply: calls that cannot take effect twice are
    /// sent again, the others fail.
    pub fn on_lost_reply(
        self,
        failure: &Failure,
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        let ScriptBatch { calls, send_source } = self;
        let (mut safe, unsafe_calls): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(PendingCall::is_retry_safe);
        safe.iter_mut().for_each(|call| call.progress.may_have_run = true);
        let batch = |calls| ScriptBatch { calls, send_source };
        let safe = batch(safe);
        if retry.is_over(&safe) {
            safe.fail(&failure.as_unknown(true), completions);
        } else if !safe.calls.is_empty() {
            retry.after_pause(safe);
        }
        batch(unsafe_calls).fail(failure, completions);
    }

    /// Decides for a batch that ran, and that too few replicas have. Where their number did not come it is
    /// asked for again by a repeat, which writes something too, of the calls that have no second effect.
    fn on_missed_replicas(
        self,
        failure: &Failure,
        durability: &Durability,
        retry: &mut Retry,
        completions: &mut Completions,
    ) {
        if durability.is_lost() {
            return self.on_lost_reply(failure, retry, completions);
        }
        for call in self.calls {
            let failure = failure.as_unknown(call.is_retry_safe());
            completions.push(call, Err(failure));
        }
    }

    /// Ends the calls, which are not sent any more.
    pub fn fail(self, failure: &Failure, completions: &mut Completions) {
        let operations: Vec<_> = self.calls.iter().map(|call| call.operation).collect();
        failure.report_if_torn(&operations);
        for call in self.calls {
            let failure = call.outcome(failure);
            completions.push(call, Err(failure));
        }
    }
}
