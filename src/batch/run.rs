use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    api::{self, Answer, Caller, Json, Problem},
    data::{self, Command, Failed, Input, READ_BUDGET, Status},
    store::{self, Completed, Context, Invocation, Operation, RedisValue, Store},
    types::{Code, Invalid, codes},
};

/// The most operations of one call, and of one chunk of it.
const MAX_OPERATIONS: usize = 10_000;
const MAX_CHUNK: usize = 1000;

/// Commands over data keys, each for itself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "operations": [
        { "type": "set", "key": "greeting", "value": "hello", "ttl_ms": 60_000 },
        { "type": "incr", "key": "visits", "by": 1 },
        { "type": "zadd", "key": "scores", "members": [{ "member": "alice", "score": 12.5 }] },
        { "type": "get", "key": "greeting" }
    ]
}))]
pub struct Batch {
    /// They run in their order.
    #[schema(value_type = Vec<Input>, min_items = 1, max_items = 10_000)]
    pub operations: Vec<Box<RawValue>>,
    /// So many go to Redis at a time.
    #[serde(default = "Batch::default_chunk")]
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub chunk_size: usize,
}

/// What has become of each.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchResults, example = json!({
    "results": [
        { "type": "set", "key": "greeting", "status": "ok", "result": true },
        { "type": "incr", "key": "visits", "status": "ok", "result": 42 },
        { "type": "hget", "key": "greeting", "status": "error", "error": {
            "code": "wrong_type", "detail": "The key holds a value of another type.", "outcome": "not_applied"
        } }
    ],
    "succeeded": 2,
    "failed": 1
}))]
pub struct Results {
    /// One for each operation, in their order.
    pub results: Vec<data::Result>,
    /// How many have happened.
    pub succeeded: usize,
    /// How many have not, or nobody knows.
    pub failed: usize,
}

impl Batch {
    fn default_chunk() -> usize {
        100
    }
}

struct Chunk<'a> {
    commands: &'a [Command],
    /// What tells the whole call from others.
    whole: &'a str,
    /// How much it may read.
    budget: usize,
}

/// What the script tells.
#[derive(Debug, Deserialize)]
struct ChunkReply {
    results: Vec<data::Told>,
}

impl Operation for Chunk<'_> {
    const NAME: &'static str = "batch/run";
    const CODES: &'static [Code] = data::CODES;
    type Reply = ChunkReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("whole", self.whole).derived_arg("budget", self.budget);
        self.commands.iter().for_each(|command| command.bind(invocation));
    }
}

/// Run commands over data keys, each for itself
///
/// In chunks, one after the other; a command that fails, or a whole chunk, is told in its results, and
/// the others go on, unless Redis has been away for the whole of the store timeout. The keys are the
/// caller's own: nothing of the service can be reached by them. With an Idempotency-Key each chunk
/// happens once; one that has failed happens when the call is sent again, so later than the chunks after
/// it. All together read 4 MiB of values at most.
#[utoipa::path(
    post,
    path = "/batch",
    operation_id = Chunk::NAME,
    tag = "batch",
    request_body = Batch,
    responses((status = OK, body = Results, description = "What has become of each.")),
    extensions(("x-refusals" = json!(["command_not_allowed"]))),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(Batch { operations, chunk_size }): Json<Batch>,
) -> api::Result<Results> {
    if !(1..=MAX_CHUNK).contains(&chunk_size) {
        let invalid = Invalid::new("validation_failed", "A chunk has 1 to 1000 operations.");
        return Err(Problem::invalid(&invalid, "/chunk_size"));
    }
    let commands = Input::read_all(&operations, MAX_OPERATIONS)?;
    let once = context.idempotency_key.is_some();
    let whole = if once { Command::digest(&commands, chunk_size) } else { String::new() };
    let started = Instant::now();
    let mut results = Vec::with_capacity(commands.len());
    let mut budget = READ_BUDGET;
    let mut replayed = true;
    let mut given_up = None;
    for (number, commands) in chunks(&commands, chunk_size).enumerate() {
        let fail = |error: &Failed| {
            let failed = |command| data::Result::failed(command, error.clone());
            commands.iter().map(failed).collect::<Vec<_>>()
        };
        if let Some(error) = &given_up {
            results.extend(fail(error));
            continue;
        }
        // The first chunk has the call's own key, so that another call under it is known as one. The
        // others have a blank in theirs, which no caller can have sent.
        let numbered = |key: &String| match number {
            0 => key.clone(),
            _ => format!("{key} {number}"),
        };
        let idempotency_key = context.idempotency_key.as_ref().map(numbered);
        let context = Context { space: context.space.clone(), idempotency_key };
        match store.run(&Chunk { commands, whole: &whole, budget }, &context).await {
            Ok(done) => {
                replayed &= done.replayed;
                for (command, told) in commands.iter().zip(done.reply.results) {
                    if let RedisValue::Bytes(bytes) = &told.1 {
                        budget = budget.saturating_sub(bytes.len());
                    }
                    results.push(data::Result::of(command, told));
                }
            }
            // Of another call than the one that is under the key nothing is begun.
            Err(error @ store::Error::KeyReused) if number == 0 => return Err(error.into()),
            Err(error) => {
                replayed = false;
                let absent =
                    matches!(&error, store::Error::Failed(failure) if !failure.is_script_error());
                results.extend(fail(&Failed::from(&Problem::from(error))));
                // A store that is away is not asked again and again for hours.
                if absent && started.elapsed() > store.timeout() {
                    given_up = Some(Failed::from(&Problem::from(codes::STORE_UNAVAILABLE)));
                }
            }
        }
    }
    let succeeded = results.iter().filter(|result| result.status == Status::Ok).count();
    let failed = results.len() - succeeded;
    Ok(Answer::ok(Completed { reply: Results { results, succeeded, failed }, replayed }))
}

/// At most so many commands in each, and at most so many words as a script can take.
fn chunks(commands: &[Command], size: usize) -> impl Iterator<Item = &[Command]> {
    let mut rest = commands;
    std::iter::from_fn(move || {
        let mut words = 0;
        let fits = |command: &&Command| {
            words += command.words();
            words <= Command::MAX_WORDS
        };
        let count = rest.iter().take(size).take_while(fits).count();
        let (chunk, after) = rest.split_at_checked(count).filter(|(chunk, _)| !chunk.is_empty())?;
        rest = after;
        Some(chunk)
    })
}
