//! `POST /transactions`: runs commands over data keys, all or none, if the guards hold.
//!
//! A call without `watch` and `guards` is one script. With them it is a loop: WATCH and read the keys,
//! evaluate the guards, and run the script by MULTI and EXEC, which does nothing if another caller has
//! changed a watched key since. Then the loop begins again, after a short pause.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use axum::{Extension, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::sleep;
use utoipa::ToSchema;

use super::guard::{DataGuard, FailedGuard};
use crate::{
    api::{self, Answer, Caller, Json, Problem, RequestInfo},
    data::{
        self, CommandReply, DataCommand, DataCommandInput, DataResult, Encoding, READ_BUDGET,
        read_commands,
    },
    store::{Completed, Context, ExecOutcome, Invocation, Operation, Store, WatchedValue},
    telemetry::CallStatistics,
    types::{Code, Id, codes, objects},
};

/// The most operations, watched keys and guards of one call, each.
const MAX_OPERATIONS: usize = 128;

/// The longest pause before the second attempt. It doubles with every further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest pause before any attempt.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// The most times that the slot of the keys may move to another node of the cluster during one attempt.
const MAX_MOVES: u32 = 5;

/// The most bytes of a value that is watched or guarded.
const MAX_WATCHED_BYTES: usize = 64 * 1024;

const ATTEMPTS: &str = "lockstep_transaction_attempts_total";
const CONFLICTS: &str = "lockstep_transaction_conflicts_total";

/// Commands over data keys, all or none, if the guards hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "watch": ["balance"],
    "guards": [{ "key": "balance", "op": "gte", "value": "10" }],
    "operations": [
        { "type": "decr", "key": "balance", "by": 10 },
        { "type": "rpush", "key": "orders", "values": ["order-7"] }
    ],
    "max_attempts": 3
}))]
pub struct DataTransaction {
    /// Commands to run, 1 to 128. They run in this order, and a later one sees the result of an earlier
    /// one.
    #[schema(value_type = Vec<DataCommandInput>, min_items = 1, max_items = 128)]
    pub operations: Vec<Box<RawValue>>,
    /// Data keys to watch, up to 128. The answer has their values from right before the transaction.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub watch: Vec<Id>,
    /// Conditions, up to 128, that must all hold right before the transaction.
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 128)]
    pub guards: Vec<DataGuard>,
    /// The most attempts, 1 to 10. An attempt fails if another caller changes a watched or guarded key
    /// meanwhile.
    #[serde(default = "DataTransaction::default_attempts")]
    #[schema(minimum = 1, maximum = 10, default = 3)]
    pub max_attempts: u32,
}

/// A transaction that has happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "results": [
        { "type": "decr", "key": "balance", "status": "ok", "result": 32 },
        { "type": "rpush", "key": "orders", "status": "ok", "result": 1 }
    ],
    "watched": { "balance": "42" },
    "attempts": 1
}))]
pub struct Committed {
    /// One result for each operation, in the order of the operations.
    pub results: Vec<DataResult>,
    /// Values of the watched keys right before the transaction, by key; null for a key that held no
    /// string. Bytes that are not UTF-8 are written in base64.
    #[schema(value_type = HashMap<String, Option<String>>)]
    pub watched: Map<String, Value>,
    /// Number of attempts that the transaction took.
    pub attempts: u32,
}

impl DataTransaction {
    fn default_attempts() -> u32 {
        3
    }
}

/// Run a transaction over data keys
///
/// All operations are applied or none is. Before the first of them runs, the same step checks that
/// every key has the type that its operations need, so that none fails half way. With `watch` or
/// `guards` those keys are watched and read first, and the operations run by MULTI and EXEC; if another
/// caller changes one of the keys meanwhile, the call tries again after a short pause. Many callers
/// that contend for the same keys are served faster by the other operations of this service, which
/// never need a second attempt. A watched or guarded value has 64 KiB at most, and all operations
/// together read 4 MiB of values at most.
#[utoipa::path(
    post,
    path = "/transactions",
    operation_id = Attempt::NAME,
    tag = "transactions",
    request_body = DataTransaction,
    responses((status = OK, body = Committed, description = "All operations were applied.")),
    extensions(("x-refusals" = json!(["command_not_allowed"]))),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(context): Caller,
    Extension(info): Extension<RequestInfo>,
    Json(request): Json<DataTransaction>,
) -> api::Result<Committed> {
    let transaction = CheckedTransaction::try_from(request)?;
    let statistics = info.observation.statistics();
    match transaction.run(&store, &context, statistics).await {
        Ok(completed) => Ok(Answer::ok(completed.map(|reply| transaction.committed(reply)))),
        Err(problem) => Err(point_at_operation(problem)),
    }
}

/// A transaction whose values have been checked.
struct CheckedTransaction {
    commands: Vec<DataCommand>,
    watch: Vec<Id>,
    guards: Vec<DataGuard>,
    max_attempts: u32,
    /// The keys of `watch` and of `guards`, each once.
    watched_keys: Vec<Id>,
}

impl TryFrom<DataTransaction> for CheckedTransaction {
    type Error = Problem;

    fn try_from(request: DataTransaction) -> Result<CheckedTransaction, Problem> {
        let DataTransaction { operations, watch, guards, max_attempts } = request;
        if !(1..=10).contains(&max_attempts) {
            return Err(Problem::validation("/max_attempts", "There are 1 to 10 attempts."));
        }
        if watch.len() > MAX_OPERATIONS {
            return Err(Problem::validation("/watch", "At most 128 keys are watched."));
        }
        if guards.len() > MAX_OPERATIONS {
            return Err(Problem::validation("/guards", "There are at most 128 guards."));
        }
        for (index, guard) in guards.iter().enumerate() {
            guard.check().map_err(|problem| problem.prefix_pointer(&format!("/guards/{index}")))?;
        }
        let commands = read_commands(&operations, MAX_OPERATIONS)?;
        let script_arguments: usize = commands.iter().map(DataCommand::script_arguments).sum();
        if script_arguments > DataCommand::MAX_SCRIPT_ARGUMENTS {
            let detail = "All operations together have too many values.";
            return Err(Problem::validation("/operations", detail));
        }
        let guarded = guards.iter().map(|guard| &guard.key);
        let watched_keys: BTreeSet<&Id> = watch.iter().chain(guarded).collect();
        let watched_keys = watched_keys.into_iter().cloned().collect();
        Ok(CheckedTransaction { commands, watch, guards, max_attempts, watched_keys })
    }
}

impl CheckedTransaction {
    /// Runs the transaction, with further attempts while other callers change its keys.
    async fn run(
        &self,
        store: &Store,
        context: &Context,
        statistics: Option<&CallStatistics>,
    ) -> Result<Completed<AttemptReply>, Problem> {
        if self.watched_keys.is_empty() {
            // Without a watched key there can be no conflict, so one script is enough.
            count(ATTEMPTS);
            return Ok(store.run(&self.attempt(&HashMap::new(), 1), context).await?);
        }
        let mut pause = FIRST_PAUSE;
        let mut before = None;
        let mut send_source = false;
        for number in 1..=self.max_attempts {
            if number > 1 {
                // A random part of the pause, or contending callers would meet again.
                sleep(pause.mul_f64(fastrand::f64())).await;
                pause = (2 * pause).min(MAX_PAUSE);
            }
            let attempt = self.try_once(number, &mut send_source, store, context).await?;
            let values = match attempt {
                TriedOnce::Completed(completed) => return Ok(completed),
                TriedOnce::Conflict(values) => values,
            };
            if let Some(statistics) = statistics {
                let changed = self.changed_keys(before.as_deref(), &values, context);
                statistics.record_conflict(Attempt::NAME, changed);
            }
            before = Some(values);
        }
        // The change that got in the way may have been this very call, sent before under the same
        // idempotency key. The script finds that out; otherwise it refuses.
        let refusal = Some(AttemptRefusal::TransactionConflict);
        let number = self.max_attempts;
        let last = Attempt { transaction: self, refusal, watched: String::new(), number };
        Ok(store.run(&last, context).await?)
    }

    /// The keys over which an attempt has met a conflict, each behind its space: those whose values differ from
    /// the attempt `before`. Where there was none, or no value tells, all watched keys.
    fn changed_keys<'a>(
        &'a self,
        before: Option<&[WatchedValue]>,
        values: &'a [WatchedValue],
        context: &'a Context,
    ) -> impl Iterator<Item = String> + use<'a> {
        let pairs = before.into_iter().flatten().zip(values);
        let mut differs: Vec<bool> = pairs.map(|(before, now)| before != now).collect();
        if !differs.contains(&true) {
            differs = vec![true; self.watched_keys.len()];
        }
        let keys = self.watched_keys.iter().zip(differs).filter(|(_, differs)| *differs);
        keys.map(|(key, _)| format!("{}/{key}", context.space))
    }

    /// Makes one attempt. `send_source`
    /// says whether the script is sent with its source, because Redis did not know it before.
    async fn try_once(
        &self,
        number: u32,
        send_source: &mut bool,
        store: &Store,
        context: &Context,
    ) -> Result<TriedOnce, Problem> {
        let mut moves = 0;
        loop {
            let (watch, values) =
                store.watch(&self.watched_keys, MAX_WATCHED_BYTES + 1, context).await?;
            reject_large_values(&values)?;
            let by_key: HashMap<&Id, &WatchedValue> =
                self.watched_keys.iter().zip(&values).collect();
            match watch.commit(&self.attempt(&by_key, number), *send_source, context).await? {
                ExecOutcome::Completed(completed) => {
                    count(ATTEMPTS);
                    return Ok(TriedOnce::Completed(completed));
                }
                ExecOutcome::Conflict => {
                    count(ATTEMPTS);
                    count(CONFLICTS);
                    return Ok(TriedOnce::Conflict(values));
                }
                ExecOutcome::ScriptNotLoaded => *send_source = true,
                ExecOutcome::SlotMoved if moves < MAX_MOVES => moves += 1,
                ExecOutcome::SlotMoved => return Err(codes::STORE_UNAVAILABLE.into()),
            }
        }
    }

    /// Evaluates the guards for the watched values, and makes the operation that EXEC runs.
    fn attempt<'a>(&'a self, values: &HashMap<&Id, &WatchedValue>, number: u32) -> Attempt<'a> {
        let failed = self.guards.iter().find_map(|guard| guard.evaluate(values.get(&guard.key)?));
        let value = |key: &Id| match values.get(key).and_then(|value| value.text.clone()) {
            Some(bytes) => Encoding::Text.encode(bytes).0.into(),
            None => Value::Null,
        };
        let watched: Map<String, Value> =
            self.watch.iter().map(|key| (key.to_string(), value(key))).collect();
        Attempt {
            transaction: self,
            refusal: failed.map(AttemptRefusal::GuardFailed),
            watched: Value::Object(watched).to_string(),
            number,
        }
    }

    fn committed(&self, reply: AttemptReply) -> Committed {
        let AttemptReply { results, watched, attempts } = reply;
        let results = self.commands.iter().zip(results);
        let results = results.map(|(command, reply)| DataResult::from_reply(command, reply));
        Committed { results: results.collect(), watched, attempts }
    }
}

/// The outcome of one attempt.
enum TriedOnce {
    /// The script ran.
    Completed(Completed<AttemptReply>),
    /// Another caller has changed a watched key since these values were read.
    Conflict(Vec<WatchedValue>),
}

/// One attempt, as EXEC runs it.
struct Attempt<'a> {
    transaction: &'a CheckedTransaction,
    refusal: Option<AttemptRefusal<'a>>,
    /// The watched values as a JSON object.
    watched: String,
    number: u32,
}

/// The reason why an attempt must do nothing. The script answers the refusal, because only there it is
/// known whether the call has happened before, under its idempotency key.
enum AttemptRefusal<'a> {
    GuardFailed(FailedGuard<'a>),
    TransactionConflict,
}

impl AttemptRefusal<'_> {
    fn code(&self) -> &'static str {
        match self {
            AttemptRefusal::GuardFailed(_) => "guard_failed",
            AttemptRefusal::TransactionConflict => "transaction_conflict",
        }
    }

    fn failed_guard(&self) -> Option<&FailedGuard<'_>> {
        match self {
            AttemptRefusal::GuardFailed(guard) => Some(guard),
            AttemptRefusal::TransactionConflict => None,
        }
    }
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
struct AttemptReply {
    results: Vec<CommandReply>,
    watched: Map<String, Value>,
    attempts: u32,
}

impl Operation for Attempt<'_> {
    const NAME: &'static str = "transactions/run";
    const CODES: &'static [Code] = data::CODES;
    type Reply = AttemptReply;

    fn bind(&self, invocation: &mut Invocation) {
        let CheckedTransaction { commands, watch, guards, max_attempts, .. } = self.transaction;
        let conditions = json!([watch, guards, max_attempts]);
        let failed = self.refusal.as_ref().and_then(AttemptRefusal::failed_guard);
        let op = failed.map_or(Value::Null, |guard| json!(guard.op));
        invocation
            .arg("conditions", conditions)
            .derived_arg("refusal", self.refusal.as_ref().map_or("", AttemptRefusal::code))
            .derived_arg("key", failed.map_or("", |guard| guard.key.as_str()))
            .derived_arg("op", op.as_str().unwrap_or_default())
            .derived_arg("expected", json!(failed.map(|guard| guard.expected)))
            .derived_arg("actual", json!(failed.map(|guard| &guard.actual)))
            .derived_arg("watched", &self.watched)
            .derived_arg("attempts", self.number)
            .derived_arg("budget", READ_BUDGET);
        commands.iter().for_each(|command| command.bind(invocation));
    }
}

/// Refuses watched values that are too long, each or all together.
fn reject_large_values(values: &[WatchedValue]) -> Result<(), Problem> {
    let lengths = || values.iter().filter_map(|value| value.text.as_ref()).map(Vec::len);
    let most = if lengths().any(|length| length > MAX_WATCHED_BYTES) {
        MAX_WATCHED_BYTES
    } else if lengths().sum::<usize>() > READ_BUDGET {
        READ_BUDGET
    } else {
        return Ok(());
    };
    Err(Problem::refused(data::codes::RESULT_TOO_LARGE, [("most", most.into())]))
}

/// Adds a pointer to the operation that was refused, if the problem names one.
fn point_at_operation(problem: Problem) -> Problem {
    match problem.member("operation_index").and_then(Value::as_u64) {
        Some(index) => {
            let pointer = format!("/operations/{index}");
            let error = json!({ "pointer": pointer, "detail": problem.detail() });
            problem.with("errors", vec![error])
        }
        None => problem,
    }
}

fn count(counter: &'static str) {
    metrics::counter!(counter).increment(1);
}
