//! `POST /atomic`: runs several commands in one script, all or none.
//!
//! Each command is prepared as its own endpoint would prepare it. Then [`Store::run_atomically`] sends
//! all of them in one script, and each command answers for itself from its part of the reply.

use axum::extract::State;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    api::{self, Answer, Caller, Json, PreparedCommand, Problem},
    domains::command,
    store::{Completed, Context, ErasedOperation, RawReply, Store},
    types::{codes, objects},
};

/// The most operations of one call.
const MAX_OPERATIONS: usize = 128;

/// Commands that all happen or none does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "operations": [
        { "operation": "ratelimit/check", "input": {
            "key": "carol", "algorithm": "sliding_window", "limit": 5, "window_ms": 60_000
        } },
        { "operation": "inventory/reserve", "input": {
            "customer_id": "carol", "product_id": "espresso-cup", "quantity": 2
        } },
        { "operation": "counters/increment", "input": { "counter": "coupon-WINTER", "max": 100 } },
        { "operation": "accounts/transfer", "input": {
            "from_account": "alice", "to_account": "bob", "amount": "2.50"
        } }
    ]
}))]
pub struct Atomic {
    /// Commands to run, 2 to 128. They run in this order, and a later one sees the result of an earlier
    /// one.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 2, max_items = 128)]
    pub operations: Vec<AtomicOperation>,
    /// With `true` the call answers what it would answer otherwise, and changes nothing. The ids of new
    /// things in such an answer are not used again.
    #[serde(default)]
    pub dry_run: bool,
}

/// One command of several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AtomicOperation {
    /// Name of the command.
    #[schema(example = "accounts/transfer")]
    pub operation: String,
    /// Body that the command's own endpoint takes. Where an endpoint takes an id in its path, the body
    /// here has it as a field.
    #[schema(value_type = Object)]
    pub input: Box<RawValue>,
}

/// The answers of the commands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "results": [
        { "operation": "counters/increment", "status": 200, "body": {
            "counter": "coupon-WINTER", "value": 7, "previous": 6, "applied": 1
        } },
        { "operation": "accounts/deposit", "status": 201, "body": {
            "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
            "account_id": "alice",
            "amount": "10.00",
            "currency": "USD",
            "balance": "110.00",
            "available": "110.00",
            "status": "completed",
            "description": null,
            "created_at": "2026-01-31T12:00:00.000Z"
        } }
    ],
    "dry_run": false
}))]
pub struct AtomicResults {
    /// One result for each operation, in the order of the operations.
    pub results: Vec<AtomicResult>,
    /// True if the call was a dry run, so that nothing has changed.
    pub dry_run: bool,
}

/// The answer of one command.
#[derive(Debug, Serialize, ToSchema)]
pub struct AtomicResult {
    /// Name of the command.
    pub operation: &'static str,
    /// HTTP status that the command's own endpoint would have answered.
    #[schema(example = 201)]
    pub status: u16,
    /// Body that the command's own endpoint would have answered.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

/// Run several commands, all or none
///
/// Money, stock, rate limits, counters and locks of one space change in one step, which happens as a
/// whole or not at all. Each input is what the command's own endpoint takes, and is checked as there. A
/// later operation sees the result of an earlier one. The first refusal stops the call, and nothing has
/// changed: the problem is that of the refused command, with its `operation_index`, counted from 0, and
/// with pointers into its input. A denied rate limit is always a refusal here. An Idempotency-Key is for
/// the call as a whole; a dry run ignores it.
#[utoipa::path(
    post,
    path = "/atomic",
    operation_id = "atomic/run",
    tag = "atomic",
    request_body = Atomic,
    responses((status = OK, body = AtomicResults, description = "All operations were applied.")),
    extensions(("x-access" = json!("any key"))),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(mut context): Caller,
    Json(Atomic { operations, dry_run }): Json<Atomic>,
) -> api::Result<AtomicResults> {
    if !(2..=MAX_OPERATIONS).contains(&operations.len()) {
        return Err(Problem::validation("/operations", "There are 2 to 128 operations."));
    }
    if dry_run {
        // A dry run changes nothing, so that there is nothing to remember under its key.
        context.idempotency_key = None;
    }
    let prepared = prepare_all(&operations, &store, &context).await?;
    let erased: Vec<&dyn ErasedOperation> =
        prepared.iter().map(|command| command.operation()).collect();
    let Completed { reply, replayed } = store.run_atomically(&erased, dry_run, &context).await?;
    let results = answer_all(&prepared, reply)?;
    Ok(Answer::ok(Completed { reply: AtomicResults { results, dry_run }, replayed }))
}

/// Reads and checks all commands. Those that have to look something up do so at the same time, so that
/// the look-ups share a script.
async fn prepare_all(
    operations: &[AtomicOperation],
    store: &Store,
    context: &Context,
) -> Result<Vec<Box<dyn PreparedCommand>>, Problem> {
    let preparing = operations.iter().map(|operation| prepare(operation, store, context));
    let mut prepared = Vec::with_capacity(operations.len());
    for (index, result) in join_all(preparing).await.into_iter().enumerate() {
        let name = operations[index].operation.as_str();
        prepared.push(result.map_err(|problem| locate(problem, index, name))?);
    }
    Ok(prepared)
}

async fn prepare(
    operation: &AtomicOperation,
    store: &Store,
    context: &Context,
) -> Result<Box<dyn PreparedCommand>, Problem> {
    let entry = command(&operation.operation)?;
    let prepared = entry.prepare(&operation.input, store, context).await;
    prepared.map_err(|problem| problem.prefix_pointer("/input"))
}

/// Makes the results of the replies. If the last reply is a refusal, it is the problem of that command,
/// and nothing has happened.
fn answer_all(
    prepared: &[Box<dyn PreparedCommand>],
    mut replies: Vec<RawReply>,
) -> Result<Vec<AtomicResult>, Problem> {
    let name = |index: usize| prepared[index].operation().name();
    if let Some(refused) = replies.pop_if(|reply| reply.is_refusal()) {
        let index = replies.len();
        let problem = prepared[index].refusal(refused).prefix_pointer("/input");
        return Err(locate(problem, index, name(index)));
    }
    if replies.len() < prepared.len() {
        return Err(codes::INTERNAL_ERROR.into());
    }
    let mut results = Vec::with_capacity(prepared.len());
    for (index, (command, reply)) in prepared.iter().zip(replies).enumerate() {
        let operation = name(index);
        let answer =
            command.answer(Ok(reply)).map_err(|problem| locate(problem, index, operation))?;
        let status = answer.status().as_u16();
        results.push(AtomicResult { operation, status, body: answer.into_body() });
    }
    Ok(results)
}

/// Adds to the problem of one command which command it is.
fn locate(problem: Problem, index: usize, name: &str) -> Problem {
    problem
        .prefix_pointer(&format!("/operations/{index}"))
        .with("operation_index", index)
        .with("operation", name)
}
