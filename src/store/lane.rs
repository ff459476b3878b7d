use std::{mem, sync::Arc, time::Duration};

use deadpool_redis::{Connection, Pool};
use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Clock, Failure, Records, library::Script, operation::Bound};

/// The most steps in one script. A thousand would keep Redis from everybody else for tens of
/// milliseconds.
pub(super) const MAX_STEPS: usize = 128;

/// The most keys in one script, well under what Lua can unpack at once.
pub(super) const MAX_KEYS: usize = 2000;

/// How often a round may be sent in all, and the pause before each repeat.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// One operation on its way to Redis.
pub(super) struct Step {
    /// What is sent: the operation's own script, or one of several operations.
    pub script: Arc<Script>,
    pub operation: &'static str,
    pub bound: Bound,
    /// All keys of one script must share a slot, and so a space.
    pub space: String,
    pub deadline: Instant,
    pub answer: oneshot::Sender<Result<Answer, Failure>>,
}

/// What the frame answers for one step.
pub(super) struct Answer {
    pub replayed: bool,
    pub reply: Value,
}

impl Step {
    /// Whether a second send has no second effect.
    fn repeatable(&self) -> bool {
        self.script.header.read_only || !self.bound.fingerprint.is_empty()
    }

    fn end(self, result: Result<Answer, Failure>) {
        // Who asked may have gone; what was done stays done.
        let _ = self.answer.send(result);
    }
}

/// A queue with one connection at its end. What arrives while a round is on its way waits, and the
/// next round takes all of it: under load, many calls are one script. There is no timer, so a call
/// that finds the lane idle is sent at once.
pub(super) struct Lane {
    pub pool: Pool,
    pub clock: Clock,
    pub records: Records,
    pub timeout: Duration,
}

/// Steps of one script and one space: they are sent as one call.
struct Group {
    steps: Vec<Step>,
    /// Send the source, because the server does not know its hash.
    load: bool,
}

/// What a round leaves to be sent again.
#[derive(Default)]
struct Again {
    groups: Vec<Group>,
    pause: bool,
}

impl Lane {
    pub async fn run(self, mut steps: mpsc::Receiver<Step>, closing: CancellationToken) {
        let mut connection = None;
        let mut batch = Vec::with_capacity(MAX_STEPS);
        loop {
            tokio::select! {
                biased;
                taken = steps.recv_many(&mut batch, MAX_STEPS) => if taken == 0 { return },
                () = closing.cancelled(), if !steps.is_closed() => { steps.close(); continue }
            }
            self.round(&mut connection, group(&mut batch)).await;
        }
    }

    async fn round(&self, connection: &mut Option<MultiplexedConnection>, mut groups: Vec<Group>) {
        let mut attempt = 1;
        // Who has waited for a whole timeout is told that the outcome is unknown, and may ask again.
        let end = Instant::now() + self.timeout;
        while !groups.is_empty() {
            let replies = self.send(connection, &groups).await;
            let last = attempt >= ATTEMPTS || Instant::now() >= end;
            let mut again = Again::default();
            match replies {
                Ok(replies) => {
                    for (group, reply) in mem::take(&mut groups).into_iter().zip(replies) {
                        group.settle(reply, last, &mut again);
                    }
                }
                Err(failure) => {
                    *connection = None;
                    for group in mem::take(&mut groups) {
                        group.lost(&failure, last, &mut again);
                    }
                }
            }
            groups = again.groups;
            if again.pause {
                attempt += 1;
                sleep(PAUSE * attempt).await;
            }
        }
    }

    /// One reply for each group, or why there is none.
    async fn send(
        &self,
        connection: &mut Option<MultiplexedConnection>,
        groups: &[Group],
    ) -> Result<Vec<Value>, Failure> {
        let live = match connection {
            Some(live) => live,
            None => {
                let fresh = self.pool.get().await;
                let fresh = fresh.map_err(|error| Failure::Unavailable(error.to_string()))?;
                metrics::counter!("lockstep_store_connections_total").increment(1);
                connection.insert(Connection::take(fresh))
            }
        };
        let mut pipeline = Pipeline::with_capacity(groups.len());
        for group in groups {
            self.pack(group, &mut pipeline);
        }
        let unknown = |cause: String| Failure::Unknown { cause, repeatable: false };
        match timeout(self.timeout, live.send_packed_commands(&pipeline, 0, groups.len())).await {
            Ok(Ok(replies)) if replies.len() == groups.len() => Ok(replies),
            Ok(Ok(_)) => Err(unknown("replies are missing".to_owned())),
            Ok(Err(error)) => Err(unknown(error.to_string())),
            Err(_) => Err(unknown(format!("nothing within {} ms", self.timeout.as_millis()))),
        }
    }

    fn pack(&self, group: &Group, pipeline: &mut Pipeline) {
        let script = &group.steps[0].script;
        if group.load {
            metrics::counter!("lockstep_script_loads_total", "operation" => script.name)
                .increment(1);
            pipeline.cmd("EVAL").arg(&script.source);
        } else {
            pipeline.cmd("EVALSHA").arg(&script.sha1);
        }
        metrics::histogram!("lockstep_coalesced_steps").record(group.steps.len() as f64);
        pipeline.arg(group.keys());
        for step in &group.steps {
            for key in step.bound.keys.iter() {
                pipeline.arg(key);
            }
        }
        let Records { once_ttl_ms, transaction_ttl_ms, history } = self.records;
        pipeline.arg(self.clock.ahead_ms()).arg(once_ttl_ms).arg(transaction_ttl_ms).arg(history);
        for step in &group.steps {
            let Bound { keys, args, fingerprint, .. } = &step.bound;
            let own_keys = keys.len() - usize::from(!fingerprint.is_empty());
            pipeline.arg(step.operation).arg(own_keys).arg(args.len()).arg(fingerprint);
            for arg in args.iter() {
                pipeline.arg(arg);
            }
        }
        pipeline.ignore_errors();
    }
}

/// Puts what belongs together into one call; the order within a script and a space stays.
fn group(batch: &mut Vec<Step>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let now = Instant::now();
    for step in batch.drain(..) {
        if step.answer.is_closed() {
            // Nobody waits for it any more, and nothing was sent.
            continue;
        }
        if step.deadline < now {
            step.end(Err(Failure::Overloaded));
            continue;
        }
        match groups.iter_mut().rev().find(|group| group.belongs(&step)) {
            Some(group) if group.takes(&step) => group.steps.push(step),
            _ => groups.push(Group { steps: vec![step], load: false }),
        }
    }
    groups
}

impl Group {
    fn belongs(&self, step: &Step) -> bool {
        Arc::ptr_eq(&self.steps[0].script, &step.script) && self.steps[0].space == step.space
    }

    /// Whether the script is still short with this step.
    fn takes(&self, step: &Step) -> bool {
        let weight: usize = self.steps.iter().map(|step| step.bound.weight).sum();
        self.keys() + step.bound.keys.len() <= MAX_KEYS && weight + step.bound.weight <= MAX_STEPS
    }

    fn keys(&self) -> usize {
        self.steps.iter().map(|step| step.bound.keys.len()).sum()
    }

    /// The server answered this call: hands the answers out, or sees what its error means.
    fn settle(mut self, reply: Value, last: bool, again: &mut Again) {
        match reply {
            Value::Array(values) if values.len() == 2 * self.steps.len() => {
                let mut values = values.into_iter();
                for step in self.steps {
                    let replayed = values.next() == Some(Value::Int(1));
                    let reply = values.next().unwrap_or_default();
                    step.end(Ok(Answer { replayed, reply }));
                }
            }
            Value::ServerError(error) if error.code() == "NOSCRIPT" && !self.load => {
                self.load = true;
                again.groups.push(self);
            }
            Value::ServerError(error) => {
                let failure = match error.code() {
                    "FIRST" => Failure::first(error.details().unwrap_or_default()),
                    code => Failure::from_reply(code, error.to_string()),
                };
                if failure.passes() && !last {
                    again.pause = true;
                    again.groups.push(self);
                } else if failure.is_of_one_step() && self.steps.len() > 1 {
                    // The frame writes only when all has been decided, so nothing has happened;
                    // alone, each step but the one at fault will work.
                    let alone = |step| Group { steps: vec![step], load: self.load };
                    again.groups.extend(self.steps.into_iter().map(alone));
                } else {
                    self.fail(&failure);
                }
            }
            other => self.fail(&Failure::Broken(format!("unexpected {other:?}"))),
        }
    }

    /// No answer to this call. What cannot have happened, and what cannot happen twice, is sent again.
    fn lost(self, failure: &Failure, last: bool, again: &mut Again) {
        if failure.passes() {
            if last {
                return self.fail(failure);
            }
            again.pause = true;
            again.groups.push(self);
            return;
        }
        let Group { steps, load } = self;
        let (repeatable, unknown): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|step| step.repeatable());
        if last {
            Group { steps: repeatable, load }.fail(failure);
        } else if !repeatable.is_empty() {
            again.pause = true;
            again.groups.push(Group { steps: repeatable, load });
        }
        Group { steps: unknown, load }.fail(failure);
    }

    fn fail(self, failure: &Failure) {
        for step in self.steps {
            let failure = match failure {
                // A read has no outcome to be unsure of.
                Failure::Unknown { cause, .. } if step.script.header.read_only => {
                    Failure::Unavailable(cause.clone())
                }
                Failure::Unknown { cause, .. } => {
                    Failure::Unknown { cause: cause.clone(), repeatable: step.repeatable() }
                }
                other => other.clone(),
            };
            step.end(Err(failure));
        }
    }
}
