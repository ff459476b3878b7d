//! `POST /bulk`: the handler of a stream, its reader and its writer.

use std::{io, mem, pin::pin, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tracing::Instrument;
use utoipa::ToSchema;

use super::lines::{LineReader, NextLine};
use crate::{
    api::{
        self, Caller, EndedCall, InFlight, MAX_GUARDS, PreparedCommand, Problem, ProblemBody,
        RequestInfo, ShutdownGate, check_space, idempotency_key, middleware::count_replay,
        read_json,
    },
    auth::Principal,
    domains::command,
    store::{Context, Guard, OrderedQueue, PendingReply, Store},
    types::{codes, objects},
};

/// The most lines that are submitted and not yet answered: three scripts of 128. Redis runs two of
/// them while the third one fills.
const MAX_SUBMITTED: usize = 384;

/// The most lines that are prepared at a time.
const MAX_PREPARING: usize = 128;

/// The longest time in which the rest of a body is read and dropped after the last answer. Closing the
/// connection on a caller that still sends could take away answers that it has not read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Results are collected up to so many bytes before they are sent, if more of them are ready.
const SEND_BYTES: usize = 16 * 1024;

/// One command of a stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "operation": "accounts/transfer",
    "input": { "from_account": "alice", "to_account": "bob", "amount": "2.50" },
    "idempotency_key": "payout-7-line-1"
}))]
pub struct BulkLine<'a> {
    /// Name of the command.
    #[schema(example = "accounts/transfer")]
    pub operation: String,
    /// Body that the command's own endpoint takes. Where an endpoint takes an id in its path, the body
    /// here has it as a field.
    #[serde(borrow)]
    #[schema(value_type = Object)]
    pub input: &'a RawValue,
    /// Key under which this line is applied at most once, like the header `Idempotency-Key` of the
    /// command's own endpoint: 1 to 255 visible ASCII characters.
    pub idempotency_key: Option<String>,
    /// Locks that have to be held when the line runs, at most 16, beside those of the header
    /// `Lockstep-Guard`, which hold for every line.
    #[serde(default, deserialize_with = "objects")]
    #[schema(max_items = 16)]
    pub guards: Vec<Guard>,
}

/// The result of one line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
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
pub struct BulkResult<'a> {
    /// Number of the line, counted from 0. Empty lines are not counted.
    pub index: u64,
    /// HTTP status that the command's own endpoint would have answered.
    pub status: u16,
    /// True if this is the answer to an earlier call under the same idempotency key; otherwise the
    /// field is left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// Body that the command's own endpoint would have answered: its answer or a problem.
    #[schema(value_type = Object)]
    pub body: BulkBody<'a>,
}

/// The body of a result.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum BulkBody<'a> {
    /// The command was applied.
    Answer(Box<RawValue>),
    /// The command was refused or has failed.
    Problem(ProblemBody<'a>),
}

/// Run a stream of commands, each on its own
///
/// The body has one command a line, and the answer one result a line, in the same order and while
/// lines still arrive. The commands run in the order of the lines, many in one script. A line that is
/// invalid or refused does not affect the others. Read the answer while you send: the stream ends if
/// the answer is not read within the body timeout, or if the body pauses for so long. A line has 64 KiB
/// at most. Each line can have an `idempotency_key` of its own; a stream that was cut off can then be
/// sent again as it is.
#[utoipa::path(
    post,
    path = "/bulk",
    operation_id = "bulk/run",
    tag = "bulk",
    request_body(
        content = String,
        content_type = "application/x-ndjson",
        description = "One JSON object a line: a `BulkLine`.",
        example = "{\"operation\":\"accounts/open\",\"input\":{\"account_id\":\"dave\"},\"idempotency_key\":\"open-dave\"}\n{\"operation\":\"accounts/deposit\",\"input\":{\"account_id\":\"dave\",\"amount\":\"5.00\"},\"idempotency_key\":\"gift-dave\"}\n{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"gifts\"}}\n",
    ),
    responses((
        status = OK,
        body = String,
        content_type = "application/x-ndjson",
        description = "One JSON object a line: a `BulkResult` for each line of the body.",
        example = "{\"index\":0,\"status\":201,\"replayed\":true,\"body\":{\"account_id\":\"dave\"}}\n"
    )),
    extensions(("x-access" = json!("any key")), ("x-refusals" = json!([
        "unsupported_media_type", "idempotency_key_invalid", "invalid_id", "validation_failed", "shutting_down"
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
    let authorization = request.headers().get(header::AUTHORIZATION).cloned();
    let body_timeout = request_info.limits.body_timeout;
    let mut lines = LineReader::new(request.into_body(), body_timeout);
    lines.start().await;
    let (submitted, received) = mpsc::channel(MAX_SUBMITTED);
    let (results, body) = Channel::new(1);
    let _in_flight = gate.enter().ok_or(codes::SHUTTING_DOWN)?;
    let stream = Arc::new(Stream { store, context, request_info, authorization, gate, _in_flight });
    tokio::spawn(Arc::clone(&stream).read(lines, submitted).in_current_span());
    tokio::spawn(stream.write(received, results, body_timeout).in_current_span());
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        // Without it nginx collects the answer, and its caller sees no result before the last.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::new(body)).into_response())
}

fn is_ndjson(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// The state that the reader and the writer of a stream share.
struct Stream {
    store: Store,
    context: Context,
    request_info: RequestInfo,
    /// The header with the key of the caller.
    authorization: Option<HeaderValue>,
    gate: ShutdownGate,
    /// Counts the stream as a request in flight until both tasks have ended.
    _in_flight: InFlight,
}

/// A line whose command can run, or the problem of the line.
type PreparedLine = Result<(Box<dyn PreparedCommand>, Context), Problem>;

/// A line that was read, as statistics count it.
struct ReadLine {
    /// The name of its command, or of the stream's own operation where it names none.
    operation: &'static str,
    started: Instant,
}

/// A line on its way from the reader to the writer.
enum SubmittedLine {
    /// Its command was submitted to Redis.
    Pending { command: Box<dyn PreparedCommand>, reply: PendingReply, context: Context },
    /// It has a problem, and nothing of it runs.
    Rejected(Problem),
}

/// The reader, the task that turns lines into submitted commands.
impl Stream {
    /// Prepares and submits lines until the body ends or fails, the service shuts down, or the writer
    /// is gone.
    async fn read(
        self: Arc<Self>,
        mut lines: LineReader,
        submitted: mpsc::Sender<(ReadLine, SubmittedLine)>,
    ) {
        let queue = self.store.ordered();
        let mut shutdown = pin!(self.gate.closed());
        // Preparing a line may read from Redis: for a capture, which accounts its hold belongs to.
        // Such facts never change, so a line need not wait for the lines before it, and the reads of
        // many lines share a script.
        let mut preparing = FuturesOrdered::new();
        let mut reading = true;
        while reading || !preparing.is_empty() {
            let next = tokio::select! {
                biased;
                () = submitted.closed() => return,
                Some((read, prepared)) = preparing.next() => {
                    let line = submit(prepared, &queue).await;
                    if submitted.send((read, line)).await.is_err() {
                        return;
                    }
                    continue;
                }
                () = &mut shutdown, if reading => {
                    NextLine::BodyFailed(codes::SHUTTING_DOWN.into())
                }
                next = lines.next(), if reading && preparing.len() < MAX_PREPARING => next,
            };
            reading = !matches!(next, NextLine::BodyFailed(_) | NextLine::End);
            let line = match next {
                NextLine::Line(line) if line.trim_ascii().is_empty() => continue,
                NextLine::Line(line) => Ok(line.to_vec()),
                NextLine::Rejected(problem) | NextLine::BodyFailed(problem) => Err(problem),
                NextLine::End => continue,
            };
            preparing.push_back(self.prepare(line));
        }
        drop(submitted);
        let _ = timeout(DISCARD_TIMEOUT, lines.discard_rest()).await;
    }

    async fn prepare(&self, line: Result<Vec<u8>, Problem>) -> (ReadLine, PreparedLine) {
        let mut read = ReadLine { operation: "bulk/run", started: Instant::now() };
        let prepared = self.prepare_command(line, &mut read).await;
        (read, prepared)
    }

    /// Reads a line and checks its command as the command's own endpoint would.
    async fn prepare_command(
        &self,
        line: Result<Vec<u8>, Problem>,
        read: &mut ReadLine,
    ) -> PreparedLine {
        let line = line?;
        let BulkLine { operation, input, idempotency_key: key, guards } = read_json(&line)?;
        if guards.len() > MAX_GUARDS {
            return Err(Problem::validation("/guards", "A line has at most 16 guards."));
        }
        let entry = command(&operation)?;
        read.operation = entry.name;
        let idempotency_key = key.as_deref().map(idempotency_key).transpose()?;
        let guards = self.context.guards.iter().cloned().chain(guards).collect();
        let space = self.context.space.clone();
        let principal = self.check_caller()?;
        let context = Context { idempotency_key, guards, space, principal };
        let prepared = entry.prepare(input, &self.store, &context).await;
        Ok((prepared.map_err(|problem| problem.prefix_pointer("/input"))?, context))
    }
}

impl Stream {
    /// Finds out who sends this line. A stream can last for hours, and its key can be revoked meanwhile.
    fn check_caller(&self) -> Result<Option<Arc<Principal>>, Problem> {
        let Some(access) = &self.request_info.access else { return Ok(None) };
        let authorization = self.authorization.iter().cloned();
        let headers = authorization.map(|value| (header::AUTHORIZATION, value)).collect();
        let principal = access.check_key(&headers, None)?;
        check_space(&principal, &self.context.space)?;
        Ok(Some(principal))
    }
}

/// Submits the command of a line, as soon as the queue has room.
async fn submit(prepared: PreparedLine, queue: &OrderedQueue) -> SubmittedLine {
    match prepared {
        Ok((command, context)) => {
            let reply = queue.submit(command.operation(), &context).await;
            SubmittedLine::Pending { command, reply, context }
        }
        Err(problem) => SubmittedLine::Rejected(problem),
    }
}

/// The writer, the task that turns replies into lines of the answer.
impl Stream {
    /// Writes the results in the order of the lines, until the reader has ended or the caller does not
    /// read them.
    async fn write(
        self: Arc<Self>,
        mut submitted: mpsc::Receiver<(ReadLine, SubmittedLine)>,
        mut results: Sender<Bytes, io::Error>,
        body_timeout: Duration,
    ) {
        let mut text = Vec::with_capacity(2 * SEND_BYTES);
        let mut index = 0;
        while let Some((read, line)) = submitted.recv().await {
            let result = self.result_of(line).await;
            self.record(index, &read, &result);
            self.append(index, result, &mut text);
            index += 1;
            if text.len() >= SEND_BYTES || submitted.is_empty() {
                let part = Bytes::from(mem::replace(&mut text, Vec::with_capacity(2 * SEND_BYTES)));
                if !matches!(timeout(body_timeout, results.send_data(part)).await, Ok(Ok(()))) {
                    // An aborted answer tells the caller that results are missing; one that ends
                    // would look complete.
                    results.abort(io::ErrorKind::TimedOut.into());
                    return;
                }
            }
        }
    }

    /// Waits for the reply of a line, and answers what the command's own endpoint would.
    async fn result_of(&self, line: SubmittedLine) -> api::Result<Box<RawValue>> {
        match line {
            SubmittedLine::Rejected(problem) => Err(problem),
            SubmittedLine::Pending { command, reply, context } => {
                let reply = self.store.wait(reply, command.operation(), &context).await;
                command.answer(reply).map_err(|problem| problem.prefix_pointer("/input"))
            }
        }
    }

    /// Counts the result of a line as a call of its command.
    fn record(&self, index: u64, read: &ReadLine, result: &api::Result<Box<RawValue>>) {
        let (status, is_replay) = match result {
            Ok(answer) => (answer.status(), answer.is_replay()),
            Err(problem) => (problem.status(), problem.is_replay()),
        };
        if is_replay {
            count_replay();
        }
        let observation = &self.request_info.observation;
        let call = EndedCall {
            status: status.as_u16(),
            problem: result.as_ref().err(),
            duration: read.started.elapsed(),
            part: format_args!("line {index}"),
        };
        if let Some(statistics) = observation.statistics() {
            let calls = statistics.operation(read.operation);
            observation.record(&calls, &call, &self.request_info);
        }
    }

    /// Appends a result as one line of JSON.
    fn append(&self, index: u64, result: api::Result<Box<RawValue>>, text: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        let _ = match result {
            Ok(answer) => {
                let (status, replayed) = (answer.status().as_u16(), answer.is_replay());
                let body = BulkBody::Answer(answer.into_body());
                serde_json::to_writer(&mut *text, &BulkResult { index, status, replayed, body })
            }
            Err(problem) => {
                problem.report(&self.request_info, format_args!("line {index}"));
                let (status, replayed) = (problem.status().as_u16(), problem.is_replay());
                let body = BulkBody::Problem(problem.body(&self.request_info));
                serde_json::to_writer(&mut *text, &BulkResult { index, status, replayed, body })
            }
        };
        text.push(b'\n');
    }
}
