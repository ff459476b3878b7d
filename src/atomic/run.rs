use axum::extract::State;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    api::{self, Answer, Caller, Json, PreparedCommand, Problem},
    domains::command,
    store::{self, Context, ErasedOperation, Store},
    types::{Invalid, codes, objects},
};

/// The most operations of one call.
const MAX_OPERATIONS: usize = 128;

/// Commands of which all happen or none does.
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
    /// In their order; a later one sees what an earlier one did.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 2, max_items = 128)]
    pub operations: Vec<Part>,
    /// Answer the same, and change nothing. Ids that would be new are not kept.
    #[serde(default)]
    pub dry_run: bool,
}

/// One command among several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AtomicOperation)]
pub struct Part {
    /// Its name, as the document has it.
    #[schema(example = "accounts/transfer")]
    pub operation: String,
    /// The body that its own endpoint takes.
    #[schema(value_type = Object)]
    pub input: Box<RawValue>,
}

/// What they answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AtomicResults, example = json!({
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
pub struct Results {
    /// One for each operation, in their order.
    pub results: Vec<PartResult>,
    /// Whether nothing has changed.
    pub dry_run: bool,
}

/// What the endpoint of one command would have answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AtomicResult)]
pub struct PartResult {
    /// Its name.
    pub operation: &'static str,
    /// The status of its answer.
    #[schema(example = 201)]
    pub status: u16,
    /// Its answer.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

async fn prepare(
    part: &Part,
    store: &Store,
    context: &Context,
) -> Result<Box<dyn PreparedCommand>, Problem> {
    let prepared = command(&part.operation)?.prepare(&part.input, store, context).await;
    prepared.map_err(|problem| problem.prefix_pointer("/input"))
}

/// Run several commands, all or none
///
/// Money, stock, quotas, counters and locks of one space in one step that happens or does not. Each
/// input is what the command's own endpoint takes, and checked as there. A later operation sees what an
/// earlier one did. At the first refusal nothing has happened: the problem is that of the refused
/// command, with its `operation_index`, and pointers into its input. A denied rate limit is always a
/// refusal here. The Idempotency-Key is for the whole.
#[utoipa::path(
    post,
    path = "/atomic",
    operation_id = "atomic/run",
    tag = "atomic",
    request_body = Atomic,
    responses((status = OK, body = Results, description = "All of them have happened.")),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(mut context): Caller,
    Json(Atomic { operations: parts, dry_run }): Json<Atomic>,
) -> api::Result<Results> {
    if !(2..=MAX_OPERATIONS).contains(&parts.len()) {
        let invalid = Invalid::new("validation_failed", "There are 2 to 128 operations.");
        return Err(Problem::invalid(&invalid, "/operations"));
    }
    if dry_run {
        // What changes nothing has nothing to be remembered.
        context.idempotency_key = None;
    }
    let at = |index: usize, problem: Problem| {
        problem
            .prefix_pointer(&format!("/operations/{index}"))
            .with("operation_index", index)
            .with("operation", parts[index].operation.as_str())
    };
    // What has to be found out before is asked for all of them at once, and is one script.
    let preparing = parts.iter().map(|part| prepare(part, &store, &context));
    let mut prepared = Vec::with_capacity(parts.len());
    for (index, part) in join_all(preparing).await.into_iter().enumerate() {
        prepared.push(part.map_err(|problem| at(index, problem))?);
    }

    let operations: Vec<&dyn ErasedOperation> = prepared.iter().map(|it| it.operation()).collect();
    let mut done = store.run_atomically(&operations, dry_run, &context).await?;
    if let Some(refused) = done.reply.pop_if(|raw| raw.is_refusal()) {
        let index = done.reply.len();
        return Err(at(index, prepared[index].refusal(refused).prefix_pointer("/input")));
    }
    let mut results = Vec::with_capacity(parts.len());
    for (index, (prepared, raw)) in prepared.iter().zip(done.reply).enumerate() {
        let answer = prepared.answer(Ok(raw)).map_err(|problem| at(index, problem))?;
        results.push(PartResult {
            operation: prepared.operation().name(),
            status: answer.status().as_u16(),
            body: answer.into_body(),
        });
    }
    if results.len() < parts.len() {
        return Err(codes::INTERNAL_ERROR.into());
    }
    let replayed = done.replayed;
    Ok(Answer::ok(store::Completed { reply: Results { results, dry_run }, replayed }))
}
