use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::timeout};
use utoipa::ToSchema;

use super::lines::{Lines, Next};
use crate::{
    api::{
        self, Caller, InFlight, PreparedCommand, Problem, RequestInfo, ShutdownGate,
        idempotency_key, read_json,
    },
    domains::command,
    store::{Context, PendingReply, Store},
    types::codes,
};

/// How many lines may be on their way: two scripts full, and what the next one will carry.
const WINDOW: usize = 384;

/// How long a caller may go on sending that has been told that nothing more is taken.
const LINGER: Duration = Duration::from_secs(1);

/// How many lines may be prepared at a time.
const MAX_PREPARING: usize = 128;

/// So much is put together before it is written, if there is more to come at once.
const WRITE_AT: usize = 16 * 1024;

/// One command of a stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkLine, example = json!({
    "operation": "accounts/transfer",
    "input": { "from_account": "alice", "to_account": "bob", "amount": "2.50" },
    "idempotency_key": "payout-7-line-1"
}))]
pub struct Line<'a> {
    /// Its name, as the document has it.
    #[schema(example = "accounts/transfer")]
    pub operation: String,
    /// The body that its own endpoint takes.
    #[serde(borrow)]
    #[schema(value_type = Object)]
    pub input: &'a RawValue,
    /// As the header of its own endpoint.
    pub idempotency_key: Option<String>,
}

/// What has become of one line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkResult, example = json!({
    "index": 0,
    "status": 201,
    "body": {
        "transaction_id": "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa",
        "from_account": "alice",
        "to_account": "bob",
        "amount": "2.50",
        "currency": "USD",
        "from_balance": "97.50",
        "to_balance": "2.50",
        "status": "completed",
        "description": null,
        "metadata": {},
        "created_at": "2026-01-31T12:00:00.000Z"
    }
}))]
pub struct LineResult<T> {
    /// Which line, counted from 0; empty ones are not counted.
    pub index: u64,
    /// The status that its own endpoint would have answered.
    pub status: u16,
    /// Whether it is the answer to an earlier send under the same idempotency key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// What its own endpoint would have answered: its answer, or a problem.
    #[schema(value_type = Object)]
    pub body: T,
}

/// A line that has been read, on its way to its answer.
enum Entry {
    Submitted { prepared: Box<dyn PreparedCommand>, pending: PendingReply, context: Context },
    Refused(Problem),
}

/// A line that can begin, or what is wrong with it.
type Ready = Result<(Box<dyn PreparedCommand>, Context), Problem>;

/// What the two ends of a stream share.
struct Stream {
    store: Store,
    context: Context,
    request_info: RequestInfo,
    gate: ShutdownGate,
    /// The answer goes on after its head, and whoever drains the service waits for all of it.
    _in_flight: InFlight,
}

/// Run a stream of commands, each on its own
///
/// Takes one command a line and answers one result a line, in the same order, while the lines still
/// come in; lines are run in their order too, many in one script. A line that is wrong or refused is
/// that line's problem and nobody else's. Read the answers while you send: what is not read within the
/// body timeout ends the stream, and so does a pause of that length between two parts of the body. A
/// line has 64 KiB at most. Each line may have its own `idempotency_key`; a stream that was cut off
/// can then be sent again as it is.
#[utoipa::path(
    post,
    path = "/bulk",
    operation_id = "bulk/run",
    tag = "bulk",
    request_body(content = Line, content_type = "application/x-ndjson"),
    responses((
        status = OK,
        body = LineResult<serde_json::Value>,
        content_type = "application/x-ndjson",
        description = "One result a line."
    )),
    extensions(("x-refusals" = json!([
        "unsupported_media_type", "idempotency_key_invalid", "invalid_id", "shutting_down"
    ]))),
)]
pub async fn run(
    State(store): State<Store>,
    Extension(gate): Extension<ShutdownGate>,
    Extension(request_info): Extension<RequestInfo>,
    Caller(context): Caller,
    request: Request,
) -> Result<Response, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(is_ndjson) {
        let detail = "Send the body as application/x-ndjson, with the header Content-Type.";
        return Err(Problem::new(codes::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if context.idempotency_key.is_some() {
        let detail = "A stream has no Idempotency-Key; each line may have an idempotency_key.";
        return Err(Problem::new(codes::IDEMPOTENCY_KEY_INVALID, detail));
    }
    let body_timeout = request_info.limits.body_timeout;
    let mut lines = Lines::new(request.into_body(), body_timeout);
    lines.ask().await;
    let (entries, read) = mpsc::channel(WINDOW);
    let (answers, body) = Channel::new(1);
    let _in_flight = gate.enter().ok_or(codes::SHUTTING_DOWN)?;
    let stream = Arc::new(Stream { store, context, request_info, gate, _in_flight });
    tokio::spawn(Arc::clone(&stream).read(lines, entries));
    tokio::spawn(stream.write(read, answers, body_timeout));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(body)).into_response())
}

fn is_ndjson(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

impl Stream {
    /// Reads lines and begins them, until there are no more or nobody is left to be answered.
    async fn read(self: Arc<Self>, mut lines: Lines, entries: mpsc::Sender<Entry>) {
        let queue = self.store.ordered();
        let closed = self.gate.closed();
        let mut closed = std::pin::pin!(closed);
        // Some commands ask first whose hold or reservation theirs is. That never changes, so lines
        // behind them need not wait to ask the same, and all of it is one script.
        let mut preparing = FuturesOrdered::new();
        let mut reading = true;
        while reading || !preparing.is_empty() {
            let next = tokio::select! {
                biased;
                () = entries.closed() => return,
                Some(ready) = preparing.next() => {
                    let ready: Ready = ready;
                    let entry = match ready {
                        Ok((prepared, context)) => {
                            let pending = queue.submit(prepared.operation(), &context).await;
                            Entry::Submitted { prepared, pending, context }
                        }
                        Err(problem) => Entry::Refused(problem),
                    };
                    if entries.send(entry).await.is_err() {
                        return;
                    }
                    continue;
                }
                () = &mut closed, if reading => Next::Broken(codes::SHUTTING_DOWN.into()),
                next = lines.next(), if reading && preparing.len() < MAX_PREPARING => next,
            };
            let line = match next {
                Next::Line(line) if line.trim_ascii().is_empty() => continue,
                Next::Line(line) => Ok(line.to_vec()),
                Next::Bad(problem) => Err(problem),
                Next::Broken(problem) => {
                    reading = false;
                    Err(problem)
                }
                Next::End => {
                    reading = false;
                    continue;
                }
            };
            preparing.push_back(self.prepare(line));
        }
        // Whoever closes on a caller that still sends takes away what it has not read yet.
        drop(entries);
        let _ = timeout(LINGER, lines.read_away()).await;
    }

    async fn prepare(&self, line: Result<Vec<u8>, Problem>) -> Ready {
        let line = line?;
        let Line { operation, input, idempotency_key: key } = read_json(&line)?;
        let command = command(&operation)?;
        let idempotency_key = key.as_deref().map(idempotency_key).transpose()?;
        let context = Context { space: self.context.space.clone(), idempotency_key };
        let prepared = command.prepare(input, &self.store, &context).await;
        Ok((prepared.map_err(|problem| problem.prefix_pointer("/input"))?, context))
    }

    /// Writes the answers in the order of the lines, until there are no more or nobody reads them.
    async fn write(
        self: Arc<Self>,
        mut entries: mpsc::Receiver<Entry>,
        mut answers: Sender<Bytes, io::Error>,
        body_timeout: Duration,
    ) {
        let mut text = Vec::with_capacity(2 * WRITE_AT);
        let mut index = 0;
        while let Some(entry) = entries.recv().await {
            let result = match entry {
                Entry::Refused(problem) => Err(problem),
                Entry::Submitted { prepared, pending, context } => {
                    let raw = self.store.wait(pending, prepared.operation(), &context).await;
                    prepared.answer(raw).map_err(|problem| problem.prefix_pointer("/input"))
                }
            };
            self.tell(index, result, &mut text);
            index += 1;
            if text.len() >= WRITE_AT || entries.is_empty() {
                let part =
                    Bytes::from(std::mem::replace(&mut text, Vec::with_capacity(2 * WRITE_AT)));
                if !matches!(timeout(body_timeout, answers.send_data(part)).await, Ok(Ok(()))) {
                    // An answer that just ended would look like a whole one.
                    answers.abort(io::ErrorKind::TimedOut.into());
                    return;
                }
            }
        }
    }

    fn tell(&self, index: u64, result: api::Result<Box<RawValue>>, text: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        let _ = match result {
            Ok(answer) => {
                let (status, replayed) = (answer.status().as_u16(), answer.is_replay());
                let body = answer.into_body();
                serde_json::to_writer(&mut *text, &LineResult { index, status, replayed, body })
            }
            Err(problem) => {
                problem.count();
                let (status, replayed) = (problem.status().as_u16(), problem.is_replay());
                let body = problem.body(&self.request_info);
                serde_json::to_writer(&mut *text, &LineResult { index, status, replayed, body })
            }
        };
        text.push(b'\n');
    }
}
