use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::sleep;
use utoipa::ToSchema;

use super::guard::{DataGuard, FailedGuard};
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Command, Encoding, Input, READ_BUDGET, written},
    store::{Completed, Context, ExecOutcome, Invocation, Operation, Store, WatchedValue},
    types::{Code, Id, Invalid, objects},
};

/// The most operations, watched keys and guards of one call each.
const MAX_OPERATIONS: usize = 128;

/// The pause before another attempt is up to this, doubled with each, and up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long a value may be that is watched or judged.
const LONGEST: usize = 64 * 1024;

const ATTEMPTS: &str = "lockstep_transaction_attempts_total";
const CONFLICTS: &str = "lockstep_transaction_conflicts_total";

/// Commands over data keys, all or none, if guards hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DataTransaction, example = json!({
    "watch": ["balance"],
    "guards": [{ "key": "balance", "op": "gte", "value": "10" }],
    "operations": [
        { "type": "decr", "key": "balance", "by": 10 },
        { "type": "rpush", "key": "orders", "values": ["order-7"] }
    ],
    "max_attempts": 3
}))]
pub struct Transaction {
    /// They run in their order.
    #[schema(value_type = Vec<Input>, min_items = 1, max_items = 128)]
    pub operations: Vec<Box<RawValue>>,
    /// Keys whose values are answered as they were when it happened.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub watch: Vec<Id>,
    /// All of them must hold.
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 128)]
    pub guards: Vec<DataGuard>,
    /// How often it is tried while others change the same keys.
    #[serde(default = "Transaction::default_attempts")]
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
    /// One for each operation, in their order.
    pub results: Vec<data::Result>,
    /// What the watched keys held before it; null for nothing, or nothing that is a string.
    #[schema(value_type = Object)]
    pub watched: Map<String, Value>,
    /// How often it was tried.
    pub attempts: u32,
}

impl Transaction {
    fn default_attempts() -> u32 {
        3
    }
}

/// The same, checked.
struct CheckedTransaction {
    commands: Vec<Command>,
    watch: Vec<Id>,
    guards: Vec<DataGuard>,
    max_attempts: u32,
    /// All keys that it is watched or judged by, each once.
    keys: Vec<Id>,
}

impl TryFrom<Transaction> for CheckedTransaction {
    type Error = Problem;

    fn try_from(request: Transaction) -> Result<CheckedTransaction, Problem> {
        let refuse = |detail: &str, pointer: &str| {
            Err(Problem::invalid(&Invalid::new("validation_failed", detail), pointer))
        };
        let Transaction { operations, watch, guards, max_attempts } = request;
        if !(1..=10).contains(&max_attempts) {
            return refuse("There are 1 to 10 attempts.", "/max_attempts");
        }
        if watch.len() > MAX_OPERATIONS {
            return refuse("At most 128 keys are watched.", "/watch");
        }
        if guards.len() > MAX_OPERATIONS {
            return refuse("There are at most 128 guards.", "/guards");
        }
        for (index, guard) in guards.iter().enumerate() {
            guard.check().map_err(|problem| problem.prefix_pointer(&format!("/guards/{index}")))?;
        }
        let commands = Input::read_all(&operations, MAX_OPERATIONS)?;
        if commands.iter().map(Command::words).sum::<usize>() > Command::MAX_WORDS {
            return refuse("All operations together have too many values.", "/operations");
        }
        let of_guards = guards.iter().map(|guard| &guard.key);
        let keys: BTreeSet<&Id> = watch.iter().chain(of_guards).collect();
        let keys = keys.into_iter().cloned().collect();
        Ok(CheckedTransaction { commands, watch, guards, max_attempts, keys })
    }
}

/// One attempt, as EXEC runs it.
struct Attempt<'a> {
    request: &'a CheckedTransaction,
    refusal: Option<Refusal<'a>>,
    watched: String,
    number: u32,
}

/// Why nothing may happen. The script says so, and not we: only there it is known whether the call has
/// happened before, under its idempotency key.
#[derive(Serialize)]
#[serde(tag = "word", rename_all = "snake_case")]
enum Refusal<'a> {
    GuardFailed(FailedGuard<'a>),
    TransactionConflict,
}

/// What the script tells.
#[derive(Debug, Deserialize)]
struct AttemptReply {
    results: Vec<data::Told>,
    watched: Map<String, Value>,
    attempts: u32,
}

impl Operation for Attempt<'_> {
    const NAME: &'static str = "transactions/run";
    const CODES: &'static [Code] = data::CODES;
    type Reply = AttemptReply;

    fn bind(&self, invocation: &mut Invocation) {
        let CheckedTransaction { commands, watch, guards, max_attempts, .. } = self.request;
        let text = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        invocation
            .arg("conditions", text(serde_json::to_string(&(watch, guards, max_attempts))))
            .derived_arg("refusal", text(serde_json::to_string(&self.refusal)))
            .derived_arg("watched", &self.watched)
            .derived_arg("attempts", self.number)
            .derived_arg("budget", READ_BUDGET);
        commands.iter().for_each(|command| command.bind(invocation));
    }
}

impl CheckedTransaction {
    fn attempt<'a>(&'a self, seen: &HashMap<&Id, &WatchedValue>, number: u32) -> Attempt<'a> {
        let failed = self.guards.iter().find_map(|guard| guard.judge(seen.get(&guard.key)?));
        let value = |key: &Id| match seen.get(key).and_then(|seen| seen.text.clone()) {
            Some(bytes) => written(bytes, Encoding::Text).0,
            None => Value::Null,
        };
        let watched: Map<String, Value> =
            self.watch.iter().map(|key| (key.to_string(), value(key))).collect();
        Attempt {
            request: self,
            refusal: failed.map(Refusal::GuardFailed),
            watched: Value::Object(watched).to_string(),
            number,
        }
    }

    /// Reads, judges and runs it, as often as it takes while others are faster.
    async fn run(
        &self,
        store: &Store,
        context: &Context,
    ) -> Result<Completed<AttemptReply>, Problem> {
        let counted = |name: &'static str| metrics::counter!(name).increment(1);
        if self.keys.is_empty() {
            // Nothing that others do is in its way.
            counted(ATTEMPTS);
            return Ok(store.run(&self.attempt(&HashMap::new(), 1), context).await?);
        }
        let mut pause = FIRST_PAUSE;
        let (mut number, mut load) = (1, false);
        while number <= self.max_attempts {
            let (watch, seen) = store.watch(&self.keys, LONGEST + 1, context).await?;
            refuse_too_large(&seen)?;
            let seen: HashMap<&Id, &WatchedValue> = self.keys.iter().zip(&seen).collect();
            match watch.commit(&self.attempt(&seen, number), load, context).await? {
                ExecOutcome::Completed(done) => {
                    counted(ATTEMPTS);
                    return Ok(done);
                }
                ExecOutcome::Unknown => load = true,
                ExecOutcome::Conflict => {
                    counted(ATTEMPTS);
                    counted(CONFLICTS);
                    number += 1;
                    if number <= self.max_attempts {
                        // Nobody waits as long as the others, or they would meet again.
                        sleep(pause.mul_f64(fastrand::f64())).await;
                        pause = (2 * pause).min(LONGEST_PAUSE);
                    }
                }
            }
        }
        // Who was faster may have been the same call, under the same idempotency key.
        let refusal = Some(Refusal::TransactionConflict);
        let last = Attempt { request: self, refusal, watched: String::new(), number: number - 1 };
        Ok(store.run(&last, context).await?)
    }
}

fn refuse_too_large(seen: &[WatchedValue]) -> Result<(), Problem> {
    let lengths = || seen.iter().filter_map(|seen| seen.text.as_ref()).map(Vec::len);
    let most = match lengths().any(|length| length > LONGEST) {
        true => LONGEST,
        false if lengths().sum::<usize>() > READ_BUDGET => READ_BUDGET,
        false => return Ok(()),
    };
    Err(Problem::refused(data::codes::RESULT_TOO_LARGE, [("most", most.into())]))
}

/// Run a transaction over data keys
///
/// All operations or none. What they need of their keys is checked before the first of them runs, in the
/// same step, so that none fails half way. With `watch` or `guards`, those keys are watched, read and
/// judged before, and the operations run by MULTI and EXEC; where somebody has changed one of them in
/// between it is tried again, after a short pause. Where many contend for the same keys, the commands of
/// this service are faster: they need no second attempt. A key that is watched or guarded has at most
/// 64 KiB, and the operations read 4 MiB of values at most.
#[utoipa::path(
    post,
    path = "/transactions",
    operation_id = Attempt::NAME,
    tag = "transactions",
    request_body = Transaction,
    responses((status = OK, body = Committed, description = "All of it has happened.")),
    extensions(("x-refusals" = json!(["command_not_allowed"]))),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<Transaction>,
) -> api::Result<Committed> {
    let request = CheckedTransaction::try_from(request)?;
    match request.run(&store, &context).await {
        Ok(done) => Ok(Answer::ok(done.map(|reply| committed(&request, reply)))),
        Err(problem) => Err(pointed(problem)),
    }
}

/// The problem with a pointer to the operation that it is of, where it is of one.
fn pointed(problem: Problem) -> Problem {
    match problem.member("operation_index").and_then(Value::as_u64) {
        Some(index) => {
            let pointer = format!("/operations/{index}");
            let error = json!({ "pointer": pointer, "detail": problem.detail() });
            problem.with("errors", vec![error])
        }
        None => problem,
    }
}

fn committed(request: &CheckedTransaction, reply: AttemptReply) -> Committed {
    let AttemptReply { results, watched, attempts } = reply;
    let results = request.commands.iter().zip(results);
    let results = results.map(|(command, told)| data::Result::of(command, told)).collect();
    Committed { results, watched, attempts }
}
