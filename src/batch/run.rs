//! `POST /batch`: runs commands over data keys, in chunks, each command on its own.
//!
//! [`run`] checks the commands and cuts them into chunks; a [`ChunkRunner`] runs one chunk after the
//! other, each in one script, and collects the results.

use axum::{Extension, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    api::{self, Answer, Caller, Json, Problem, RequestInfo},
    data::{
        self, CommandReply, CommandStatus, DataCommand, DataCommandInput, DataFailure, DataResult,
        READ_BUDGET, read_commands,
    },
    store::{self, Completed, Context, Invocation, Operation, RedisValue, Store},
    types::{Code, codes},
};

/// The most operations of one call.
const MAX_OPERATIONS: usize = 10_000;
/// The most operations of one chunk.
const MAX_CHUNK: usize = 1000;

/// Runs commands over data keys, each on its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch, example = json!({
    "operations": [
        { "type": "set", "key": "greeting", "value": "hello", "ttl_ms": 60_000 },
        { "type": "incr", "key": "visits", "by": 1 },
        { "type": "zadd", "key": "scores", "members": [{ "member": "alice", "score": 12.5 }] },
        { "type": "get", "key": "greeting" }
    ]
}))]
pub struct DataBatch {
    /// Commands to run, 1 to 10,000. They run in this order.
    #[schema(value_type = Vec<DataCommandInput>, min_items = 1, max_items = 10_000)]
    pub operations: Vec<Box<RawValue>>,
    /// Number of commands, 1 to 1,000, that go to Redis in one script. Commands with many values make
    /// smaller chunks.
    #[serde(default = "DataBatch::default_chunk_size")]
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub chunk_size: usize,
}

/// The results of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
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
pub struct BatchResults {
    /// One result for each operation, in the order of the operations.
    pub results: Vec<DataResult>,
    /// Number of operations that were applied.
    pub succeeded: usize,
    /// Number of operations that were not applied, or of which that is unknown.
    pub failed: usize,
}

impl DataBatch {
    fn default_chunk_size() -> usize {
        100
    }
}

/// Run commands over data keys, each on its own
///
/// The commands run in chunks, one chunk after the other. A command that fails says so in its result,
/// and so does each command of a chunk that fails as a whole; the others go on, unless Redis has been
/// unavailable for the whole store timeout. The keys are the caller's own: no key of the service can be
/// reached. With an Idempotency-Key each chunk is applied once. A chunk that failed is applied when the
/// call is sent again, which is after the chunks behind it. All commands together read 4 MiB of values
/// at most.
#[utoipa::path(
    post,
    path = "/batch",
    operation_id = Chunk::NAME,
    tag = "batch",
    request_body = DataBatch,
    responses((status = OK, body = BatchResults, description = "One result for each operation.")),
    extensions(("x-refusals" = json!(["command_not_allowed"]))),
)]
pub async fn run(
    State(store): State<Store>,
    Extension(request_info): Extension<RequestInfo>,
    Caller(context): Caller,
    Json(DataBatch { operations, chunk_size }): Json<DataBatch>,
) -> api::Result<BatchResults> {
    if !(1..=MAX_CHUNK).contains(&chunk_size) {
        return Err(Problem::validation("/chunk_size", "A chunk has 1 to 1000 operations."));
    }
    let commands = read_commands(&operations, MAX_OPERATIONS)?;
    let digest = match context.idempotency_key {
        Some(_) => DataCommand::digest(&commands, chunk_size),
        None => String::new(),
    };
    let mut runner = ChunkRunner::new(&store, &context, &request_info, &digest, commands.len());
    for (number, commands) in chunks(&commands, chunk_size).enumerate() {
        runner.run(number, commands).await?;
    }
    Ok(Answer::ok(runner.finish()))
}

/// Cuts commands into chunks of at most `size` commands, and of no more script arguments than one
/// script can take.
fn chunks(commands: &[DataCommand], size: usize) -> impl Iterator<Item = &[DataCommand]> {
    let mut rest = commands;
    std::iter::from_fn(move || {
        let mut script_arguments = 0;
        let fits = |command: &&DataCommand| {
            script_arguments += command.script_arguments();
            script_arguments <= DataCommand::MAX_SCRIPT_ARGUMENTS
        };
        let count = rest.iter().take(size).take_while(fits).count();
        let (chunk, after) = rest.split_at_checked(count).filter(|(chunk, _)| !chunk.is_empty())?;
        rest = after;
        Some(chunk)
    })
}

/// Runs the chunks of one call one after the other, and collects the results of their commands.
struct ChunkRunner<'a> {
    store: &'a Store,
    context: &'a Context,
    request_info: &'a RequestInfo,
    /// Digest of all commands of the call; empty without an idempotency key.
    digest: &'a str,
    started: Instant,
    results: Vec<DataResult>,
    /// Bytes of values that the chunks to come may read.
    budget: usize,
    /// True if every chunk so far was a replay.
    replayed: bool,
    /// The failure of all chunks to come, once Redis has been unavailable for too long.
    given_up: Option<DataFailure>,
}

impl<'a> ChunkRunner<'a> {
    fn new(
        store: &'a Store,
        context: &'a Context,
        request_info: &'a RequestInfo,
        digest: &'a str,
        count: usize,
    ) -> ChunkRunner<'a> {
        ChunkRunner {
            store,
            context,
            request_info,
            digest,
            started: Instant::now(),
            results: Vec::with_capacity(count),
            budget: READ_BUDGET,
            replayed: true,
            given_up: None,
        }
    }

    /// Runs a chunk and adds its results. An error is returned only for a call that must not begin, because
    /// its idempotency key belongs to another call or a guard fails; every other failure becomes a result.
    async fn run(&mut self, number: usize, commands: &[DataCommand]) -> Result<(), Problem> {
        if let Some(failure) = self.given_up.clone() {
            self.add_failures(commands, &failure);
            return Ok(());
        }
        let chunk = Chunk { commands, digest: self.digest, budget: self.budget };
        match self.store.run(&chunk, &self.context_of_chunk(number)).await {
            Ok(Completed { reply, replayed }) => {
                self.replayed &= replayed;
                self.add_replies(commands, reply);
            }
            // A refusal of the whole chunk is that of a guard.
            Err(error @ (store::Error::KeyReused | store::Error::Refused(_))) if number == 0 => {
                return Err(error.into());
            }
            Err(error) => {
                self.replayed = false;
                let unavailable =
                    matches!(&error, store::Error::Failed(failure) if !failure.is_script_error());
                let problem = Problem::from(error);
                let (first, last) = (self.results.len(), self.results.len() + commands.len() - 1);
                problem.report(self.request_info, format_args!("operations {first} to {last}"));
                self.add_failures(commands, &DataFailure::from(&problem));
                // Each further chunk would wait for the store timeout again, for hours in all.
                if unavailable && self.started.elapsed() > self.store.timeout() {
                    let problem = Problem::from(codes::STORE_UNAVAILABLE);
                    self.given_up = Some(DataFailure::from(&problem));
                }
            }
        }
        Ok(())
    }

    /// The context of a chunk. The first chunk has the idempotency key of the call, so that another
    /// call under the same key is detected. The others add their number behind a space, which no
    /// caller can send within a key.
    fn context_of_chunk(&self, number: usize) -> Context {
        let Context { idempotency_key, .. } = self.context;
        let numbered = |key: &String| match number {
            0 => key.clone(),
            _ => format!("{key} {number}"),
        };
        let idempotency_key = idempotency_key.as_ref().map(numbered);
        Context { idempotency_key, ..self.context.clone() }
    }

    fn add_replies(&mut self, commands: &[DataCommand], reply: ChunkReply) {
        for (command, reply) in commands.iter().zip(reply.results) {
            if let (_, RedisValue::Bytes(bytes)) = &reply {
                self.budget = self.budget.saturating_sub(bytes.len());
            }
            let result = DataResult::from_reply(command, reply);
            if let Some(cause) = result.error.as_ref().and_then(|error| error.cause.clone()) {
                let problem = Problem::from(codes::INTERNAL_ERROR).caused_by(cause);
                let index = self.results.len();
                problem.report(self.request_info, format_args!("operation {index}"));
            }
            self.results.push(result);
        }
    }

    fn add_failures(&mut self, commands: &[DataCommand], failure: &DataFailure) {
        let failed = |command| DataResult::failed(command, failure.clone());
        self.results.extend(commands.iter().map(failed));
    }

    fn finish(self) -> Completed<BatchResults> {
        let ChunkRunner { results, replayed, .. } = self;
        let is_ok = |result: &&DataResult| result.status == CommandStatus::Ok;
        let succeeded = results.iter().filter(is_ok).count();
        let failed = results.len() - succeeded;
        Completed { reply: BatchResults { results, succeeded, failed }, replayed }
    }
}

/// One chunk, which one script runs.
struct Chunk<'a> {
    commands: &'a [DataCommand],
    digest: &'a str,
    budget: usize,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
struct ChunkReply {
    results: Vec<CommandReply>,
}

impl Operation for Chunk<'_> {
    const NAME: &'static str = "batch/run";
    const CODES: &'static [Code] = data::CODES;
    type Reply = ChunkReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.arg("whole", self.digest).derived_arg("budget", self.budget);
        self.commands.iter().for_each(|command| command.bind(invocation));
    }
}
