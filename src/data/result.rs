//! The results of commands over data keys, made of the replies of Redis.

use serde::Serialize;
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Object, ObjectBuilder,
        schema::{SchemaType, Type},
    },
};

use super::{DataCommand, DataCommandType, READ_BUDGET};
use crate::{
    api::{Outcome, Problem},
    store::RedisValue,
    types::{Id, codes},
};

/// The result of one command.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "type": "incr", "key": "visits", "status": "ok", "result": 42 }))]
pub struct DataResult {
    /// Type of the command.
    #[serde(rename = "type")]
    pub kind: DataCommandType,
    /// Data key of the command.
    pub key: Id,
    /// `ok` if the command was applied, otherwise `error`.
    pub status: CommandStatus,
    /// Result of an applied command, in the type of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = result_schema, required = false)]
    pub result: Option<Value>,
    /// `base64` if `result` is written in base64: because the command asked for it, or because the
    /// value is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// Reason why the command was not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<DataFailure>,
}

/// A string, a number, a boolean or null.
fn result_schema() -> Object {
    let types = [Type::String, Type::Integer, Type::Boolean, Type::Null];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .description(Some(
            "Result of an applied command: for `get` and `hget` the string, or null if there is none; \
             for `incr` and `decr` the new number; for `set` true; for `del` and `expire` whether the \
             key existed; for `hset`, `sadd` and `zadd` the number of entries that are new; for `lpush` \
             and `rpush` the new length of the list.",
        ))
        .build()
}

/// The status of a command. `ok` says that it was applied; `error` that it was not, or that this is
/// unknown: `outcome` tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Status)]
pub enum CommandStatus {
    /// The command was applied.
    Ok,
    /// The command was not applied, or it is unknown whether it was.
    Error,
}

/// The reason why a command was not applied.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Failed)]
pub struct DataFailure {
    /// Problem code; `GET /problems/{code}` explains it.
    #[schema(example = "wrong_type")]
    pub code: String,
    /// Explanation of this case in a sentence.
    pub detail: String,
    /// `not_applied` if the command changed nothing, or `unknown` if its chunk was sent to Redis and
    /// nothing says whether it happened.
    pub outcome: Outcome,
    /// The error of Redis behind an `internal_error`, for the log only.
    #[serde(skip)]
    pub cause: Option<String>,
}

/// The reply of a script for one command: `ok` and the reply of Redis, or `error` and its message.
pub type CommandReply = (String, RedisValue);

impl DataResult {
    /// Makes the result of a command that Redis has replied to.
    pub fn from_reply(command: &DataCommand, (status, reply): CommandReply) -> DataResult {
        if status != "ok" {
            return DataResult::failed(command, DataFailure::from_redis(&reply));
        }
        let (result, encoding) = json_result(command, reply);
        DataResult {
            kind: command.kind,
            key: command.key.clone(),
            status: CommandStatus::Ok,
            result: Some(result),
            encoding,
            error: None,
        }
    }

    /// Makes the result of a command that was not applied, or of which that is unknown.
    pub fn failed(command: &DataCommand, error: DataFailure) -> DataResult {
        DataResult {
            kind: command.kind,
            key: command.key.clone(),
            status: CommandStatus::Error,
            result: None,
            encoding: None,
            error: Some(error),
        }
    }
}

/// Returns a reply as JSON in the type that callers expect of the command, and its encoding if that is
/// base64.
fn json_result(command: &DataCommand, reply: RedisValue) -> (Value, Option<&'static str>) {
    use DataCommandType::{Decr, Del, Expire, Incr, Set};
    match (command.kind, reply) {
        (Set, _) => (true.into(), None),
        (Del | Expire, RedisValue::Number(number)) => ((number > 0).into(), None),
        (_, RedisValue::Nil) => (Value::Null, None),
        (_, RedisValue::Number(number)) => (number.into(), None),
        // The script reads the number as text, because Lua would round one beyond 2^53.
        (Incr | Decr, RedisValue::Bytes(digits)) => {
            let digits = std::str::from_utf8(&digits).ok();
            (digits.and_then(|digits| digits.parse::<i64>().ok()).into(), None)
        }
        (_, RedisValue::Bytes(bytes)) => {
            let (text, encoding) = command.encoding.encode(bytes);
            (text.into(), encoding)
        }
    }
}

impl DataFailure {
    /// Makes a failure of an error message of Redis, or of the script's own `TOOLARGE`.
    fn from_redis(error: &RedisValue) -> DataFailure {
        let message = match error {
            RedisValue::Bytes(message) => String::from_utf8_lossy(message),
            _ => "".into(),
        };
        if message.contains("TOOLARGE") {
            let members = [("most", READ_BUDGET.into())];
            return DataFailure::from(&Problem::refused(super::codes::RESULT_TOO_LARGE, members));
        }
        let not_a_number = ["not an integer", "overflow", "not a valid float"];
        let detail = if message.contains("WRONGTYPE") {
            "The key holds a value of another type."
        } else if not_a_number.iter().any(|part| message.contains(part)) {
            "The value is no number of 64 bits, or would be none any more."
        } else {
            let problem = Problem::from(codes::INTERNAL_ERROR);
            return DataFailure {
                cause: Some(message.into_owned()),
                ..DataFailure::from(&problem)
            };
        };
        DataFailure {
            code: "wrong_type".to_owned(),
            detail: detail.to_owned(),
            outcome: Outcome::NotApplied,
            cause: None,
        }
    }
}

impl From<&Problem> for DataFailure {
    fn from(problem: &Problem) -> DataFailure {
        DataFailure {
            code: problem.code().to_owned(),
            detail: problem.detail().to_owned(),
            outcome: problem.outcome(),
            cause: None,
        }
    }
}
