use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use tokio::time::sleep;
use utoipa::ToSchema;

use super::{
    CODES,
    guard::{FailedGuard, Guard},
    types_of_keys,
};
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Command, Encoding, Input, written},
    store::{Answered, Call, Context, Done, Executed, Failure, Operation, Seen, Store},
    types::{Code, Id, Invalid},
};

/// The most operations, watched keys and guards of one call each.
const MAX_OPERATIONS: usize = 128;

/// The pause before another attempt is up to this, doubled with each, and up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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
    #[serde(default)]
    #[schema(max_items = 128)]
    pub guards: Vec<Guard>,
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
struct Order {
    commands: Vec<Command>,
    watch: Vec<Id>,
    guards: Vec<Guard>,
    max_attempts: u32,
    /// All keys that it goes by, each once.
    keys: Vec<Id>,
}

impl TryFrom<Transaction> for Order {
    type Error = Problem;

    fn try_from(order: Transaction) -> Result<Order, Problem> {
        let refuse = |detail: &str, pointer: &str| {
            Err(Problem::invalid(&Invalid::new("validation_failed", detail), pointer))
        };
        let Transaction { operations, watch, guards, max_attempts } = order;
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
            guard.check().map_err(|problem| problem.within(&format!("/guards/{index}")))?;
        }
        let commands = Input::read_all(&operations, MAX_OPERATIONS)?;
        if commands.iter().map(Command::words).sum::<usize>() > Command::MAX_WORDS {
            return refuse("All operations together have too many values.", "/operations");
        }
        let of_commands = commands.iter().map(|command| &command.key);
        let of_guards = guards.iter().map(|guard| &guard.key);
        let keys: BTreeSet<&Id> = watch.iter().chain(of_guards).chain(of_commands).collect();
        let keys = keys.into_iter().cloned().collect();
        Ok(Order { commands, watch, guards, max_attempts, keys })
    }
}

/// One attempt, as EXEC runs it.
struct Attempt<'a> {
    order: &'a Order,
    failed: Option<FailedGuard<'a>>,
    watched: String,
    number: u32,
}

/// What the script tells.
#[derive(Debug, Deserialize)]
struct AttemptReply {
    results: Vec<(String, Answered)>,
    watched: Map<String, Value>,
    attempts: u32,
}

impl Operation for Attempt<'_> {
    const NAME: &'static str = "transactions/run";
    const CODES: &'static [Code] = CODES;
    type Reply = AttemptReply;

    fn bind(&self, call: &mut Call) {
        let Order { commands, watch, guards, .. } = self.order;
        let text = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        call.arg("conditions", text(serde_json::to_string(&(watch, guards))))
            .found_arg("guard", text(serde_json::to_string(&self.failed)))
            .found_arg("watched", &self.watched)
            .found_arg("attempts", self.number);
        commands.iter().for_each(|command| command.bind(call));
    }
}

impl Order {
    /// One attempt, from reading to EXEC.
    async fn attempt(
        &self,
        number: u32,
        store: &Store,
        context: &Context,
    ) -> Result<Executed<Done<AttemptReply>>, Problem> {
        let (watch, seen, happened) = store.watch(&self.keys, context).await?;
        let seen: HashMap<&Id, &Seen> = self.keys.iter().zip(&seen).collect();
        let mut failed = None;
        // What has happened before, under the same idempotency key, is not judged again.
        if !happened {
            let judged = self.judge(&seen);
            failed = match judged {
                Ok(failed) => failed,
                Err(problem) => {
                    watch.release().await?;
                    return Err(problem);
                }
            };
        }
        let attempt = Attempt { order: self, failed, watched: self.watched(&seen), number };
        let executed = watch.commit(&attempt, context).await?;
        if let Executed::Done(done) = &executed
            && let Some((_, error)) = done.reply.results.iter().find(|(word, _)| word != "ok")
        {
            // It was checked before, so this is a fault of ours, and the others have happened.
            let cause = format!("a command of a transaction failed: {error:?}");
            return Err(Failure::Unknown { cause, repeatable: false }.into());
        }
        Ok(executed)
    }

    fn judge<'a>(&'a self, seen: &HashMap<&Id, &Seen>) -> Result<Option<FailedGuard<'a>>, Problem> {
        let failed = self.guards.iter().find_map(|guard| guard.judge(seen.get(&guard.key)?));
        if failed.is_none() {
            types_of_keys::check(&self.commands, seen)?;
        }
        Ok(failed)
    }

    /// What is watched, as JSON.
    fn watched(&self, seen: &HashMap<&Id, &Seen>) -> String {
        let value = |key: &Id| match seen.get(key).and_then(|seen| seen.text.clone()) {
            Some(bytes) => written(bytes, Encoding::Text).0,
            None => Value::Null,
        };
        let watched: Map<String, Value> =
            self.watch.iter().map(|key| (key.to_string(), value(key))).collect();
        Value::Object(watched).to_string()
    }
}

/// Run a transaction over data keys
///
/// All operations or none, as they stand or if all guards hold. The keys are watched, read and judged,
/// and the operations run by MULTI and EXEC; where somebody has changed one of the keys in between it is
/// tried again, after a short pause. What a command needs of a key is checked before, so that none fails
/// half way. Where many contend for the same keys, the commands of this service are faster: they need no
/// second attempt.
#[utoipa::path(
    post,
    path = "/transactions",
    operation_id = Attempt::NAME,
    tag = "transactions",
    request_body = Transaction,
    responses((status = OK, body = Committed, description = "All of it has happened.")),
    extensions(("x-refusals" = json!(["transaction_conflict", "command_not_allowed", "wrong_type"]))),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<Transaction>,
) -> api::Result<Committed> {
    let order = Order::try_from(order)?;
    let mut pause = FIRST_PAUSE;
    let mut number = 1;
    loop {
        match order.attempt(number, &store, &context).await? {
            Executed::Done(done) => {
                metrics::counter!("lockstep_transaction_attempts_total").increment(1);
                return Ok(Answer::ok(done.map(|reply| committed(&order, reply))));
            }
            Executed::Loaded => continue,
            Executed::Conflict => {
                metrics::counter!("lockstep_transaction_attempts_total").increment(1);
                metrics::counter!("lockstep_transaction_conflicts_total").increment(1);
            }
        }
        if number == order.max_attempts {
            let members = [("attempts", number.into())];
            return Err(Problem::refused(CODES, "transaction_conflict", members));
        }
        // Nobody waits as long as the others, or they would meet again.
        sleep(pause.mul_f64(fastrand::f64())).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
        number += 1;
    }
}

fn committed(order: &Order, reply: AttemptReply) -> Committed {
    let AttemptReply { results, watched, attempts } = reply;
    let replies = results.into_iter().map(|(_, answered)| Ok(answered));
    let results = order.commands.iter().zip(replies);
    let results = results.map(|(command, reply)| data::Result::of(command, reply)).collect();
    Committed { results, watched, attempts }
}
