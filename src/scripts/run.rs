//! `POST /scripts/{name}/run`: runs a script on data keys of the space.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    CODES, codes,
    find::FindScript,
    get_version::GetVersion,
    record::builtin,
    source::{self, PreparedScript},
};
use crate::{
    api::{self, Answer, Caller, Json, Path, Problem},
    store::{
        Completed, Context, Invocation, Library, Operation, RunError, ScriptValue, Store, TimedOut,
    },
    types::{Code, Id},
};

/// The most keys of a run, and the most arguments.
const MAX_KEYS: usize = 1000;
const MAX_ARGS: usize = 1000;

/// The time that a script has where the caller does not say, and the most that a caller can give it.
const DEFAULT_TIMEOUT_MS: u64 = 1000;
const MAX_TIMEOUT_MS: u64 = 30_000;

/// What a script is run on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "keys": ["visits"], "args": ["5", "100"] }))]
pub struct RunScript {
    /// Data keys of the space, up to 1,000. The script gets their whole names in KEYS.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub keys: Vec<Id>,
    /// Arguments, up to 1,000 strings or whole numbers. The script gets them as strings in ARGV.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub args: Vec<Value>,
    /// Number of the version to run; the active one by default.
    #[schema(minimum = 1)]
    pub version: Option<u64>,
    /// Milliseconds that the script may run, 1 to 30,000; no longer than the service waits for Redis.
    #[schema(minimum = 1, maximum = 30000, default = 1000)]
    pub timeout_ms: Option<u64>,
}

/// The result of a script.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "name": "add-capped", "version": 1, "result": 5, "duration_us": 180 }))]
pub struct ScriptResult {
    /// Name of the script.
    pub name: Id,
    /// Number of the version that ran.
    pub version: u64,
    /// Value that the script returned, as Redis converts it: a number loses its fraction, `true` is 1, `nil` and
    /// `false` are null, and a table ends before its first `nil`. A status reply is `{"ok": "..."}`, an error
    /// reply inside of a table `{"err": "..."}`, and bytes that are not UTF-8 are `{"base64": "..."}`.
    #[schema(value_type = Option<Value>)]
    pub result: Value,
    /// Microseconds from sending the script until its reply.
    pub duration_us: u64,
}

/// A run of a script as an operation.
pub struct ScriptRun {
    name: Id,
    asked_version: Option<u64>,
    version: u64,
    space: Id,
    last_line: usize,
    collects: bool,
    keys: Vec<Id>,
    args: Vec<String>,
}

/// The reply of a run.
#[derive(Debug, Deserialize)]
pub struct ScriptRunReply {
    version: u64,
    /// The data keys that it wrote, where that was asked for.
    pub written: Vec<ScriptValue>,
    result: Vec<ScriptValue>,
}

impl Operation for ScriptRun {
    const NAME: &'static str = "scripts/run";
    const CODES: &'static [Code] = CODES;
    type Reply = ScriptRunReply;

    fn bind(&self, invocation: &mut Invocation) {
        for key in &self.keys {
            invocation.data_key(key);
        }
        invocation
            .arg("name", &self.name)
            .arg("asked_version", self.asked_version.unwrap_or_default())
            .derived_arg("version", self.version)
            .derived_arg("prefix", format_args!("lockstep-data:{{{}}}:", self.space))
            .derived_arg("last_line", self.last_line)
            .derived_arg("collects", u8::from(self.collects));
        for arg in &self.args {
            invocation.raw_arg(arg);
        }
    }
}

/// A run that is ready to be sent, as often as it is wanted.
pub struct ReadyRun {
    /// The script.
    pub prepared: Arc<PreparedScript>,
    /// The number of its version.
    pub version: u64,
    /// The time that it may take.
    pub timeout: Duration,
    name: Id,
    asked_version: Option<u64>,
    keys: Vec<Id>,
    args: Vec<String>,
}

impl RunScript {
    /// Finds the script and checks what it is run on.
    ///
    /// # Errors
    ///
    /// `validation_failed`, `script_not_found` or `script_version_not_found`, or the failure of the store.
    pub async fn ready(
        self,
        name: Id,
        store: &Store,
        context: &Context,
    ) -> Result<ReadyRun, Problem> {
        let RunScript { keys, args, version: asked_version, timeout_ms } = self;
        let timeout_ms = timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
            let detail = format!("A timeout is 1 to {MAX_TIMEOUT_MS} milliseconds.");
            return Err(Problem::validation("/timeout_ms", detail));
        }
        if asked_version == Some(0) {
            return Err(Problem::validation("/version", "Versions count from 1."));
        }
        let args = texts(args)?;
        for (pointer, count, most) in
            [("/keys", keys.len(), MAX_KEYS), ("/args", args.len(), MAX_ARGS)]
        {
            if count > most {
                let detail = format!("A run has at most {most} of them.");
                return Err(Problem::validation(pointer, detail));
            }
        }
        if builtin(Library::embedded(), &name).is_some() {
            let detail = format!("{name} is a script of the service: call its own endpoint.");
            return Err(Problem::refused(codes::SCRIPT_NOT_FOUND, [("name", json!(name))])
                .with_detail(detail));
        }
        // Guards are checked by the script that does the work.
        let reading = context.without_guards();
        let find = FindScript { name: name.clone(), version: asked_version };
        let script = store.run(&find, &reading).await?.reply.script;
        let details = script.details();
        for (pointer, given, taken) in
            [("/keys", keys.len(), details.keys.len()), ("/args", args.len(), details.args.len())]
        {
            if given != taken {
                let detail = format!("The script takes {taken} of them, and {given} are given.");
                return Err(Problem::validation(pointer, detail));
            }
        }
        let (version, read_only) = (details.version, details.read_only);
        let prepared = match source::known(&details.sha256, read_only) {
            Some(prepared) => prepared,
            None => {
                let get = GetVersion { name: name.clone(), version };
                let source = store.run(&get, &reading).await?.reply.source.unwrap_or_default();
                source::prepare(store, context, &source, read_only).await?
            }
        };
        let timeout = Duration::from_millis(timeout_ms).min(store.timeout());
        Ok(ReadyRun { prepared, version, timeout, name, asked_version, keys, args })
    }
}

impl ReadyRun {
    /// The run in the space of `context` as an operation.
    pub fn operation(&self, context: &Context, collects: bool) -> ScriptRun {
        ScriptRun {
            name: self.name.clone(),
            asked_version: self.asked_version,
            version: self.version,
            space: context.space.clone(),
            last_line: self.prepared.last_line,
            collects,
            keys: self.keys.clone(),
            args: self.args.clone(),
        }
    }

    /// Runs the script in the space of `context`. `collects` also returns which keys it has written, and ends
    /// them a minute later.
    ///
    /// # Errors
    ///
    /// `script_error`, `script_timeout` or `key_not_allowed`, or the failure of the store.
    pub async fn run(
        &self,
        store: &Store,
        context: &Context,
        collects: bool,
    ) -> Result<Completed<ScriptRunReply>, Problem> {
        let run = self.operation(context, collects);
        let ran = store.run_user_script(&self.prepared.script, run, context, self.timeout).await;
        ran.map_err(|error| match error {
            RunError::Store(error) => self.with_source_line(error.into()),
            RunError::TimedOut(timed_out) => self.timeout_problem(timed_out),
        })
    }

    /// Adds the line of the source to the problem of a script that failed. Its effects are its outcome.
    fn with_source_line(&self, problem: Problem) -> Problem {
        if !["script_error", "key_not_allowed"].contains(&problem.code()) {
            return problem;
        }
        let has_effects = problem.member("effects") == Some(&json!("unknown"));
        let problem = if has_effects { problem.with_unknown_outcome() } else { problem };
        let line = problem.member("line").and_then(Value::as_u64);
        let Some((line, text)) = line.and_then(|line| Some((line, self.prepared.line(line)?)))
        else {
            return problem;
        };
        let detail = problem.detail().trim_end_matches('.');
        let detail = format!("{detail}, at line {line}.");
        problem.with("source_line", text).with_detail(detail)
    }

    /// The problem of a script that ran for too long.
    fn timeout_problem(&self, timed_out: TimedOut) -> Problem {
        let killed = timed_out == TimedOut::Killed;
        let problem = Problem::refused(
            codes::SCRIPT_TIMEOUT,
            [
                ("name", json!(self.name)),
                ("timeout_ms", json!(self.timeout.as_millis() as u64)),
                ("killed", json!(killed)),
                ("effects", json!(if killed { "none" } else { "unknown" })),
            ],
        );
        let why = match timed_out {
            TimedOut::Killed => " It had written nothing and was ended.",
            TimedOut::NotKillable => {
                " It has written, so the server cannot end it and serves nobody until it ends by itself or the server is ended without saving."
            }
            TimedOut::Unanswered => {
                " The server did not say in time whether it was ended, so it may still run."
            }
        };
        let detail = format!("{}{why}", problem.detail());
        let problem = problem.with_detail(detail);
        if killed { problem } else { problem.with_unknown_outcome() }
    }

    /// The result of a run as callers read it.
    pub fn result(&self, reply: ScriptRunReply, took: Duration) -> ScriptResult {
        ScriptResult {
            name: self.name.clone(),
            version: reply.version,
            result: reply.result.into_iter().next().map_or(Value::Null, json_of),
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Arguments as the strings that a script gets.
fn texts(args: Vec<Value>) -> Result<Vec<String>, Problem> {
    let text = |(index, arg): (usize, Value)| match arg {
        Value::String(text) => Ok(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        _ => {
            let detail = "An argument is a string or a whole number.";
            Err(Problem::validation(&format!("/args/{index}"), detail))
        }
    };
    args.into_iter().enumerate().map(text).collect()
}

/// A result as JSON.
pub fn json_of(value: ScriptValue) -> Value {
    match value {
        ScriptValue::Nil => Value::Null,
        ScriptValue::Number(number) => number.into(),
        ScriptValue::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => json!({ "base64": STANDARD.encode(error.as_bytes()) }),
        },
        ScriptValue::Status(text) => json!({ "ok": text }),
        ScriptValue::Error(text) => json!({ "err": text }),
        ScriptValue::Array(values) => values.into_iter().map(json_of).collect(),
    }
}

/// Run a script
///
/// Runs the active version, or another, on data keys of the space. A script that the server has forgotten is sent
/// again, and no caller sees that. Under an Idempotency-Key a script that writes has one effect. A script that
/// only reads is killed at its timeout; one that has written cannot be killed.
#[utoipa::path(
    post,
    path = "/scripts/{name}/run",
    operation_id = ScriptRun::NAME,
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped")),
    request_body = RunScript,
    responses((status = OK, body = ScriptResult, description = "The script ran to its end.")),
    extensions(("x-refusals" = json!([
        "script_not_found", "script_version_not_found", "script_timeout"
    ]))),
)]
pub async fn run(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(name): Path,
    Json(request): Json<RunScript>,
) -> api::Result<ScriptResult> {
    let ready = request.ready(name, &store, &context).await?;
    let started = Instant::now();
    let completed = ready.run(&store, &context, false).await?;
    let took = started.elapsed();
    Ok(Answer::ok(completed.map(|reply| ready.result(reply, took))))
}
