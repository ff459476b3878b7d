use std::{future, sync::Arc, time::Duration};

use deadpool_redis::{Connection, Pool};
use futures_util::{StreamExt, stream::FuturesOrdered};
use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Clock, Failure, Retention,
    library::Script,
    operation::{EncodedInvocation, MAX_STEPS},
};

/// How many rounds may be on their way at a time.
const MAX_ROUNDS: usize = 2;

/// The most keys in one script, well under what Lua can unpack at once.
pub(super) const MAX_KEYS: usize = 2000;

/// The most arguments of one operation, for the same reason.
pub(super) const MAX_ARGS: usize = 7000;

/// How often a round may be sent in all, and the pause before each repeat.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// A connection that has been idle for that long is asked for a sign of life first. A server that went
/// away meanwhile is noticed only by writing to it, and then nobody knows what has become of a command.
const IDLE: Duration = Duration::from_secs(1);

/// One operation on its way to Redis.
pub(super) struct Step {
    /// What is sent: the operation's own script, or one of several operations.
    pub script: Arc<Script>,
    pub operation: &'static str,
    pub bound: EncodedInvocation,
    /// All keys of one script must share a slot, and so a space.
    pub space: String,
    pub deadline: Instant,
    pub answer: oneshot::Sender<Told>,
}

/// What a step's caller is told.
type Told = Result<Answer, Failure>;

/// What the frame answers for one step.
pub(super) struct Answer {
    pub replayed: bool,
    pub reply: Value,
}

impl Step {
    /// Whether it travels in the script of another operation, as the lines of a stream do. Those stay
    /// among themselves: a refusal of what that script is made for sends each of its steps again alone,
    /// and lines would lose their order.
    fn is_carried(&self) -> bool {
        self.operation != self.script.name
    }

    /// Whether a second send has no second effect.
    fn repeatable(&self) -> bool {
        self.script.header.read_only || !self.bound.fingerprint.is_empty()
    }
}

/// Steps that have ended, whose callers are still to be told. They are told when the next round is on
/// its way, so that Redis does not wait for that; or at once, if there is none.
#[derive(Default)]
struct Ended(Vec<(oneshot::Sender<Told>, Told)>);

impl Ended {
    fn push(&mut self, step: Step, result: Told) {
        self.0.push((step.answer, result));
    }

    fn tell(&mut self) {
        for (answer, result) in self.0.drain(..) {
            // Who asked may have gone; what was done stays done.
            let _ = answer.send(result);
        }
    }
}

/// A queue with one connection at its end. What arrives while a round is on its way waits, and the
/// next round takes all of it: under load, many calls are one script. There is no timer, so a call
/// that finds the lane idle is sent at once.
pub(super) struct Lane {
    pub pool: Pool,
    pub frame: Frame,
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
        let mut rounds = FuturesOrdered::new();
        let mut ended = Ended::default();
        let mut open = true;
        while open || !batch.is_empty() || !rounds.is_empty() {
            // While a round is on its way the next one collects. Only a full one is sent behind it,
            // so that Redis goes from the one to the other without waiting for us.
            let full = batch.len() == MAX_STEPS && rounds.len() < MAX_ROUNDS;
            if full || rounds.is_empty() && !batch.is_empty() {
                let groups = group(&mut batch, &mut ended);
                if !groups.is_empty() {
                    let sent = self.send(&mut connection, &groups, &mut ended).await;
                    rounds.push_back(async { (groups, sent.await) });
                }
            }
            let room = MAX_STEPS - batch.len();
            tokio::select! {
                biased;
                Some((groups, replies)) = rounds.next() => {
                    self.conclude(&mut connection, groups, replies, &mut ended).await;
                }
                // By now the next round is on its way, if there is one.
                () = future::ready(()), if !ended.0.is_empty() => ended.tell(),
                taken = steps.recv_many(&mut batch, room), if open && room > 0 => open = taken > 0,
                () = closing.cancelled(), if !steps.is_closed() => steps.close(),
                else => {}
            }
        }
        ended.tell();
    }

    /// Hands out the answers of a round, and sends again what can be.
    async fn conclude(
        &self,
        connection: &mut Option<Live>,
        mut groups: Vec<Group>,
        mut replies: Result<Vec<Value>, Failure>,
        ended: &mut Ended,
    ) {
        let mut attempt = 1;
        // Who has waited for a whole timeout is told that the outcome is unknown, and may ask again.
        let end = Instant::now() + self.timeout;
        loop {
            let last = attempt >= ATTEMPTS || Instant::now() >= end;
            let mut again = Again::default();
            match replies {
                Ok(replies) => {
                    for (group, reply) in groups.into_iter().zip(replies) {
                        group.wait(reply, last, &mut again, ended);
                    }
                }
                Err(failure) => {
                    *connection = None;
                    for group in groups {
                        group.lost(&failure, last, &mut again, ended);
                    }
                }
            }
            if again.groups.is_empty() {
                return;
            }
            groups = again.groups;
            if again.pause {
                attempt += 1;
                ended.tell();
                sleep(PAUSE * attempt).await;
            }
            replies = self.send(connection, &groups, ended).await.await;
        }
    }

    /// One reply for each group, or why there is none: a future that sends when it is first polled.
    async fn send(
        &self,
        connection: &mut Option<Live>,
        groups: &[Group],
        ended: &mut Ended,
    ) -> impl Future<Output = Result<Vec<Value>, Failure>> + Send + use<> {
        if connection.is_none() {
            ended.tell();
        }
        let live = self.connect(connection).await;
        let (count, timeout_after) = (groups.len(), self.timeout);
        let mut pipeline = Pipeline::with_capacity(count);
        for group in groups {
            metrics::histogram!("lockstep_coalesced_steps").record(group.steps.len() as f64);
            let steps = group.steps.iter().map(|step| (step.operation, &step.bound));
            self.frame.pack(&mut pipeline, &group.steps[0].script, group.load, steps);
        }
        async move {
            let unknown = |cause: String| Failure::Unknown { cause, repeatable: false };
            let mut live = live?;
            match timeout(timeout_after, live.send_packed_commands(&pipeline, 0, count)).await {
                Ok(Ok(replies)) if replies.len() == count => Ok(replies),
                Ok(Ok(_)) => Err(unknown("replies are missing".to_owned())),
                Ok(Err(error)) => Err(unknown(error.to_string())),
                Err(_) => Err(unknown(format!("nothing within {} ms", timeout_after.as_millis()))),
            }
        }
    }

    async fn connect(
        &self,
        connection: &mut Option<Live>,
    ) -> Result<MultiplexedConnection, Failure> {
        if let Some(live) = connection
            && (live.last_used.elapsed() < IDLE || live.answers(self.timeout.min(IDLE)).await)
        {
            live.last_used = Instant::now();
            return Ok(live.connection.clone());
        }
        let fresh = self.pool.get().await;
        let fresh = fresh.map_err(|error| Failure::Unavailable(error.to_string()))?;
        metrics::counter!("lockstep_store_connections_total").increment(1);
        let fresh = Live { connection: Connection::take(fresh), last_used: Instant::now() };
        Ok(connection.insert(fresh).connection.clone())
    }
}

/// The connection of a lane.
struct Live {
    connection: MultiplexedConnection,
    last_used: Instant,
}

impl Live {
    /// Whether there is somebody at its other end.
    async fn answers(&mut self, timeout_after: Duration) -> bool {
        let ping = redis::cmd("PING");
        let answer = self.connection.send_packed_command(&ping);
        matches!(timeout(timeout_after, answer).await, Ok(Ok(_)))
    }
}

/// What every script is told beside its steps.
#[derive(Clone)]
pub(super) struct Frame {
    pub clock: Clock,
    pub records: Retention,
}

impl Frame {
    /// Puts one script with its steps, each an operation's name and what it takes, into a pipeline.
    pub fn pack<'a>(
        &self,
        pipeline: &mut Pipeline,
        script: &Script,
        load: bool,
        steps: impl Iterator<Item = (&'static str, &'a EncodedInvocation)> + Clone,
    ) {
        if load {
            metrics::counter!("lockstep_script_loads_total", "operation" => script.name)
                .increment(1);
            pipeline.cmd("EVAL").arg(&script.source);
        } else {
            pipeline.cmd("EVALSHA").arg(&script.sha1);
        }
        pipeline.arg(steps.clone().map(|(_, bound)| bound.keys.len()).sum::<usize>());
        for (_, bound) in steps.clone() {
            for key in bound.keys.iter() {
                pipeline.arg(key);
            }
        }
        let Retention { once_ttl_ms, transaction_ttl_ms, history } = self.records;
        pipeline.arg(self.clock.ahead_ms()).arg(once_ttl_ms).arg(transaction_ttl_ms).arg(history);
        for (operation, EncodedInvocation { keys, args, fingerprint, .. }) in steps {
            let own_keys = keys.len() - usize::from(!fingerprint.is_empty());
            pipeline.arg(operation).arg(own_keys).arg(args.len()).arg(fingerprint);
            for arg in args.iter() {
                pipeline.arg(arg);
            }
        }
        pipeline.ignore_errors();
    }
}

/// Puts what belongs together into one call; the order within a script and a space stays.
fn group(batch: &mut Vec<Step>, ended: &mut Ended) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let now = Instant::now();
    for step in batch.drain(..) {
        if step.answer.is_closed() {
            // Nobody waits for it any more, and nothing was sent.
            continue;
        }
        if step.deadline < now {
            ended.push(step, Err(Failure::Overloaded));
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
        let first = &self.steps[0];
        Arc::ptr_eq(&first.script, &step.script)
            && first.space == step.space
            && first.is_carried() == step.is_carried()
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
    fn wait(mut self, reply: Value, last: bool, again: &mut Again, ended: &mut Ended) {
        match reply {
            Value::Array(values) if values.len() == 2 * self.steps.len() => {
                let mut values = values.into_iter();
                for step in self.steps {
                    let replayed = values.next() == Some(Value::Int(1));
                    let reply = values.next().unwrap_or_default();
                    ended.push(step, Ok(Answer { replayed, reply }));
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
                } else if failure.is_script_error() && self.steps.len() > 1 {
                    // The frame writes only when all has been decided, so nothing has happened;
                    // alone, each step but the one at fault will work.
                    // Redis knows the script by now, whether or not it came with its source.
                    let alone = |step| Group { steps: vec![step], load: false };
                    again.groups.extend(self.steps.into_iter().map(alone));
                } else {
                    self.fail(&failure, ended);
                }
            }
            other => self.fail(&Failure::Broken(format!("unexpected {other:?}")), ended),
        }
    }

    /// No answer to this call. What cannot have happened, and what cannot happen twice, is sent again.
    fn lost(self, failure: &Failure, last: bool, again: &mut Again, ended: &mut Ended) {
        if failure.passes() {
            if last {
                return self.fail(failure, ended);
            }
            again.pause = true;
            again.groups.push(self);
            return;
        }
        let Group { steps, load } = self;
        let (repeatable, unknown): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|step| step.repeatable());
        if last {
            Group { steps: repeatable, load }.fail(failure, ended);
        } else if !repeatable.is_empty() {
            again.pause = true;
            again.groups.push(Group { steps: repeatable, load });
        }
        Group { steps: unknown, load }.fail(failure, ended);
    }

    fn fail(self, failure: &Failure, ended: &mut Ended) {
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
            ended.push(step, Err(failure));
        }
    }
}
