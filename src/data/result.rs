use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Command, Encoding, READ_BUDGET, Word, codes};
use crate::{api::Problem, store::RedisValue, types::Id};

/// What has become of one command.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DataResult, example = json!({ "type": "incr", "key": "visits", "status": "ok", "result": 42 }))]
pub struct Result {
    /// What it was to do.
    #[serde(rename = "type")]
    pub kind: Word,
    /// To which key.
    pub key: Id,
    /// Whether it has.
    pub status: Status,
    /// What it answered: of `get` and `hget` a string or null, of `set`, `del` and `expire` whether they
    /// did anything, of `incr` and `decr` the new number, of the others how many entries are new or
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// `base64` where the result is bytes that are no text, or base64 was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// Why it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failed>,
}

/// Whether a command has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has.
    Ok,
    /// It has not, or nobody knows; the error says which.
    Error,
}

/// Why a command has not happened.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Failed {
    /// The code of the problem.
    #[schema(example = "wrong_type")]
    pub code: String,
    /// A sentence for a person.
    pub detail: String,
    /// `not_applied`, or `unknown` where its chunk was sent and no answer came.
    #[schema(example = "not_applied")]
    pub outcome: Value,
}

/// What the script tells of one command: `ok` and what Redis answered, or `error` and why.
pub type Told = (String, RedisValue);

impl Result {
    /// Of a command that Redis has answered.
    pub fn of(command: &Command, (word, answered): Told) -> Result {
        if word != "ok" {
            return Result::failed(command, Failed::of(&answered));
        }
        let (result, encoding) = typed(command, answered);
        Result {
            kind: command.word,
            key: command.key.clone(),
            status: Status::Ok,
            result: Some(result),
            encoding,
            error: None,
        }
    }

    /// Of a command that has not happened.
    pub fn failed(command: &Command, error: Failed) -> Result {
        Result {
            kind: command.word,
            key: command.key.clone(),
            status: Status::Error,
            result: None,
            encoding: None,
            error: Some(error),
        }
    }
}

/// A value as JSON, and how it is written where it is no text.
pub fn written(bytes: Vec<u8>, encoding: Encoding) -> (Value, Option<&'static str>) {
    let base64 = |bytes: &[u8]| (BASE64_STANDARD.encode(bytes).into(), Some("base64"));
    match encoding {
        Encoding::Base64 => base64(&bytes),
        Encoding::Text => match String::from_utf8(bytes) {
            Ok(text) => (text.into(), None),
            Err(error) => base64(error.as_bytes()),
        },
    }
}

fn typed(command: &Command, answered: RedisValue) -> (Value, Option<&'static str>) {
    match (command.word, answered) {
        (Word::Set, _) => (true.into(), None),
        (Word::Del | Word::Expire, RedisValue::Number(number)) => ((number > 0).into(), None),
        (_, RedisValue::Nothing) => (Value::Null, None),
        (_, RedisValue::Number(number)) => (number.into(), None),
        (Word::Incr | Word::Decr, RedisValue::Bytes(digits)) => {
            let number =
                std::str::from_utf8(&digits).ok().and_then(|text| text.parse::<i64>().ok());
            (number.into(), None)
        }
        (_, RedisValue::Bytes(bytes)) => written(bytes, command.encoding),
    }
}

impl Failed {
    /// By what Redis says.
    fn of(error: &RedisValue) -> Failed {
        let error = match error {
            RedisValue::Bytes(error) => String::from_utf8_lossy(error),
            _ => "".into(),
        };
        if error.contains("TOOLARGE") {
            let members = [("most", READ_BUDGET.into())];
            return Failed::from(&Problem::refused(codes::RESULT_TOO_LARGE, members));
        }
        let of_the_value = ["WRONGTYPE", "not an integer", "overflow", "not a valid float"];
        let detail = if error.contains(of_the_value[0]) {
            "The key holds a value of another type."
        } else if of_the_value.iter().any(|part| error.contains(part)) {
            "The value is no number of 64 bits, or would be none any more."
        } else {
            return Failed::from(&Problem::from(crate::types::codes::INTERNAL_ERROR));
        };
        Failed {
            code: "wrong_type".to_owned(),
            detail: detail.to_owned(),
            outcome: "not_applied".into(),
        }
    }
}

impl From<&Problem> for Failed {
    fn from(problem: &Problem) -> Failed {
        Failed {
            code: problem.code().to_owned(),
            detail: problem.detail().to_owned(),
            outcome: serde_json::to_value(problem.outcome()).unwrap_or_default(),
        }
    }
}
