//! `POST /scripts/{name}/trace`: shows which lines of a script run, and changes nothing.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    codes,
    run::{ReadyRun, RunScript, json_of},
};
use crate::{
    api::{self, Answer, Caller, Json, Path, Problem},
    store::{Completed, ScriptTrace, ScriptValue, Store, TraceError, TraceStep},
    types::Id,
};

/// The most lines of a trace.
const MAX_STEPS: usize = 10_000;

/// What a script is traced on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "keys": ["visits"], "args": ["5", "100"] }))]
pub struct TraceScript {
    /// Data keys of the space, as a run takes them. The trace reads what they hold, and changes nothing.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub keys: Vec<Id>,
    /// Arguments, as a run takes them.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub args: Vec<Value>,
    /// Number of the version to trace; the active one by default.
    #[schema(minimum = 1)]
    pub version: Option<u64>,
    /// The most lines of the trace, 1 to 10,000.
    #[serde(default = "TraceScript::default_max_steps")]
    #[schema(minimum = 1, maximum = 10000, default = 1000)]
    pub max_steps: usize,
}

impl TraceScript {
    fn default_max_steps() -> usize {
        1000
    }
}

/// The way of a script through its lines.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "add-capped", "version": 1, "complete": true,
    "steps": [{
        "line": 2, "source": "return redis.call('INCRBY', KEYS[1], ARGV[1])",
        "command": "INCRBY lockstep-data:{main}:visits 5", "reply": "5"
    }],
    "result": 5, "error": null
}))]
pub struct ScriptSteps {
    /// Name of the script.
    pub name: Id,
    /// Number of the version that was traced.
    pub version: u64,
    /// True if the script came to its end within `max_steps` lines.
    pub complete: bool,
    /// Lines that ran, in their order.
    pub steps: Vec<ScriptStep>,
    /// Value that the script returned, as a run answers it; null where it failed or did not come to its end.
    #[schema(value_type = Option<Value>)]
    pub result: Value,
    /// Code and members of the problem that a run would have answered; null where it would have succeeded.
    #[schema(value_type = Option<Value>)]
    pub error: Value,
}

/// A line of a source that ran. A line that ran several commands is there once for each.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "line": 2, "source": "return redis.call('TIME')", "command": "TIME", "reply": "[\"1\",\"2\"]" }))]
pub struct ScriptStep {
    /// Number of the line in the source.
    pub line: u64,
    /// Line of the source.
    pub source: String,
    /// Command that the line ran, as the debugger writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "TIME")]
    pub command: Option<String>,
    /// Reply to the command, as the debugger writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "5")]
    pub reply: Option<String>,
}

/// Trace a script
///
/// Runs the script in the server's debugger, in a copy of the server that is thrown away, and answers each line that
/// ran with its command and the reply. Nothing that it writes is kept. One trace runs at a time, because
/// each copies the server.
#[utoipa::path(
    post,
    path = "/scripts/{name}/trace",
    operation_id = "scripts/trace",
    tag = "scripts",
    params(("name" = Id, Path, description = "Name of the script.", example = "add-capped")),
    request_body = TraceScript,
    responses((status = OK, body = ScriptSteps, description = "The lines that ran.")),
    extensions(("x-refusals" = json!([
        "script_not_found", "script_version_not_found", "trace_unavailable"
    ]))),
)]
pub async fn trace(
    State(store): State<Store>,
    Caller(mut context): Caller,
    Path(name): Path,
    Json(request): Json<TraceScript>,
) -> api::Result<ScriptSteps> {
    let TraceScript { keys, args, version, max_steps } = request;
    if !(1..=MAX_STEPS).contains(&max_steps) {
        let detail = format!("A trace has 1 to {MAX_STEPS} lines.");
        return Err(Problem::validation("/max_steps", detail));
    }
    context.idempotency_key = None;
    context.guards.clear();
    let run = RunScript { keys, args, version, timeout_ms: None };
    let ready = run.ready(name.clone(), &store, &context).await?;
    let prepared = &ready.prepared;
    let operation = ready.operation(&context, false);
    let traced = store
        .trace_user_script(&prepared.script, &operation, &context, prepared.last_line, max_steps)
        .await;
    let trace = traced.map_err(|error| match error {
        TraceError::Unavailable(reason) => {
            Problem::refused(codes::TRACE_UNAVAILABLE, [("reason", json!(reason))])
        }
        TraceError::Failed(failure) => failure.into(),
    })?;
    let reply = steps(name, &ready, trace);
    Ok(Answer::ok(Completed { reply, replayed: false }))
}

/// The answer of a trace.
fn steps(name: Id, ready: &ReadyRun, trace: ScriptTrace) -> ScriptSteps {
    let complete = trace.reply.is_some();
    let (result, error) = outcome(trace.reply);
    ScriptSteps {
        name,
        version: ready.version,
        complete,
        steps: trace.steps.into_iter().flat_map(|step| lines(ready, step)).collect(),
        result,
        error,
    }
}

/// The entries of one line that ran.
fn lines(ready: &ReadyRun, step: TraceStep) -> Vec<ScriptStep> {
    // The source begins with the second line of the server's script.
    let line = step.line as u64 - 1;
    let source = ready.prepared.line(line).unwrap_or_default().to_owned();
    let entry = |command, reply| ScriptStep { line, source: source.clone(), command, reply };
    if step.commands.is_empty() {
        return vec![entry(None, None)];
    }
    let commands = step.commands.into_iter();
    commands.map(|(command, reply)| entry(Some(command), Some(reply))).collect()
}

/// The result in the reply of the runner, or the refusal.
fn outcome(reply: Option<ScriptValue>) -> (Value, Value) {
    let reply = match reply {
        None => return (Value::Null, Value::Null),
        Some(ScriptValue::Error(message)) => return (Value::Null, json!({ "message": message })),
        Some(ScriptValue::Array(mut values)) => values.pop(),
        Some(_) => None,
    };
    let Some(ScriptValue::Array(values)) = reply else { return (Value::Null, Value::Null) };
    let values: Vec<Value> = values.into_iter().map(json_of).collect();
    let at = |index: usize| values.get(index).cloned().unwrap_or_default();
    match at(0).as_str() {
        Some("ok") => (at(3).get(0).cloned().unwrap_or_default(), Value::Null),
        Some("script_error") => {
            let error = json!({
                "code": "script_error", "kind": at(2), "line": at(3), "message": at(5),
            });
            (Value::Null, error)
        }
        Some("key_not_allowed") => {
            let error = json!({
                "code": "key_not_allowed", "line": at(2), "command": at(3), "key": at(4),
            });
            (Value::Null, error)
        }
        _ => (Value::Null, Value::Null),
    }
}
