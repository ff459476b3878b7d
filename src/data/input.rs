//! Reads and checks the commands over data keys that callers send, and the encoding of their values.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{json, value::RawValue};
use utoipa::ToSchema;

use super::{DataCommand, DataCommandType, codes};
use crate::{
    api::{Problem, read_json},
    types::{Id, Invalid, Ttl, UniqueMap, enum_from_str},
};

/// One command over a data key. Its `type` decides which of the other fields are needed or allowed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DataCommand, example = json!({ "type": "incr", "key": "visits", "by": 1 }))]
pub struct DataCommandInput {
    /// Type of the command.
    #[serde(rename = "type")]
    #[schema(value_type = DataCommandType)]
    pub kind: String,
    /// Data key that the command reads or changes. Keys of the service are out of its reach.
    pub key: Id,
    /// For `set`, which needs it: value to write, a string or a whole number. For every other command
    /// that takes values it stands for one of them: for `incr` and `decr` the step, for `expire` the time
    /// in seconds, for `hset` the value of `field`, for `lpush`, `rpush` and `sadd` the value to add,
    /// and for `zadd` the member with the `score`.
    pub value: Option<Scalar>,
    /// For `expire`, which needs it or `value`, and for `set`: time in milliseconds after which the key ends. A
    /// `set` without it writes a value that never ends.
    pub ttl_ms: Option<Ttl>,
    /// For `incr` and `decr`: step to add or to subtract, from -(2^63 - 1) to 2^63 - 1; 1 if it is not
    /// given.
    pub by: Option<i64>,
    /// For `hset`, which needs it or `value`: values to write, by the name of their field; at least one,
    /// and no field twice.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub fields: Option<UniqueMap<String, String>>,
    /// For `hget`, which needs it: name of the field to read. For `hset` with a `value`: name of the
    /// field to write.
    pub field: Option<String>,
    /// For `lpush` and `rpush`, which need it or `value`: values to add, one after the other; at least
    /// one.
    pub values: Option<Vec<String>>,
    /// For `zadd` with a `value`: score of the member.
    pub score: Option<f64>,
    /// For `sadd` and `zadd`, which need it or `value`: members to add, at least one. Members of a set
    /// are strings, and those of a sorted set are objects with a `member` and its `score`.
    #[schema(value_type = Option<Vec<Member>>)]
    pub members: Option<Vec<Member>>,
    /// Encoding of the values in this command and in its result.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "text")]
    pub encoding: Encoding,
}

/// An encoding of bytes in JSON: `text` for UTF-8, and `base64` (RFC 4648, with padding) for any bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The bytes are UTF-8, and stand in JSON as they are.
    #[default]
    Text,
    /// The bytes are written in base64 (RFC 4648, with padding).
    Base64,
}

impl Encoding {
    /// Returns the bytes of a value that a caller sent.
    ///
    /// # Errors
    ///
    /// `validation_failed` at `pointer` if the value should be base64 and is not.
    pub fn decode(self, value: String, pointer: &str) -> Result<Vec<u8>, Problem> {
        match self {
            Encoding::Text => Ok(value.into_bytes()),
            Encoding::Base64 => BASE64_STANDARD.decode(value).map_err(|error| {
                Problem::validation(pointer, format!("This is no base64: {error}."))
            }),
        }
    }

    /// Returns a stored value as text, and `base64` if it is written in that: because this encoding
    /// asks for it, or because the bytes are not UTF-8.
    pub fn encode(self, bytes: Vec<u8>) -> (String, Option<&'static str>) {
        let base64 = |bytes: &[u8]| (BASE64_STANDARD.encode(bytes), Some("base64"));
        match self {
            Encoding::Base64 => base64(&bytes),
            Encoding::Text => match String::from_utf8(bytes) {
                Ok(text) => (text, None),
                Err(error) => base64(error.as_bytes()),
            },
        }
    }
}

/// A single value: a string, or a whole number from -(2^63) to 2^63 - 1.
#[derive(Debug, ToSchema)]
#[schema(example = "hello")]
#[serde(untagged)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl Scalar {
    /// The text, for a command whose value is one.
    fn into_text(self) -> Result<String, Problem> {
        match self {
            Scalar::Text(text) => Ok(text),
            Scalar::Number(_) => {
                Err(Problem::validation("/value", "The value of this command is a string."))
            }
        }
    }

    /// The number, for a command whose value is one.
    fn into_number(self) -> Result<i64, Problem> {
        match self {
            Scalar::Number(number) => Ok(number),
            Scalar::Text(_) => {
                Err(Problem::validation("/value", "The value of this command is a whole number."))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct StringOrInteger;

        impl Visitor<'_> for StringOrInteger {
            type Value = Scalar;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Scalar, E> {
                let number = i64::try_from(number).map_err(|_| {
                    E::custom(Invalid::new(
                        "validation_failed",
                        "A whole number is at most 2^63 - 1.",
                    ))
                })?;
                Ok(Scalar::Number(number))
            }
        }

        deserializer.deserialize_any(StringOrInteger)
    }
}

/// A member of a set, or a member of a sorted set with its score.
#[derive(Debug, ToSchema)]
#[schema(as = DataMember)]
#[serde(untagged)]
pub enum Member {
    /// A member of a set.
    Plain(String),
    /// A member of a sorted set.
    Scored(ScoredMember),
}

/// A member of a sorted set with its score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "member": "alice", "score": 12.5 }))]
pub struct ScoredMember {
    /// The member.
    member: String,
    /// Its score, by which the set is sorted.
    score: f64,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        struct StringOrObject;

        impl<'de> Visitor<'de> for StringOrObject {
            type Value = Member;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, or an object of a member and its score")
            }

            fn visit_str<E>(self, member: &str) -> Result<Member, E> {
                Ok(Member::Plain(member.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
                ScoredMember::deserialize(MapAccessDeserializer::new(map)).map(Member::Scored)
            }
        }

        deserializer.deserialize_any(StringOrObject)
    }
}

/// Reads and checks a list of 1 to `max_commands` commands.
///
/// # Errors
///
/// `command_not_allowed` for a type that does not exist, and `validation_failed` for everything else,
/// with pointers that begin with `/operations`.
pub fn read_commands(
    list: &[Box<RawValue>],
    max_commands: usize,
) -> Result<Vec<DataCommand>, Problem> {
    if !(1..=max_commands).contains(&list.len()) {
        let detail = format!("There are 1 to {max_commands} operations.");
        return Err(Problem::validation("/operations", detail));
    }
    let read = |(index, json): (usize, &RawValue)| {
        read_json::<DataCommandInput>(json.get().as_bytes())
            .and_then(DataCommandInput::check)
            .map_err(|problem| problem.prefix_pointer(&format!("/operations/{index}")))
    };
    list.iter().map(AsRef::as_ref).enumerate().map(read).collect()
}

impl DataCommandInput {
    /// Checks the fields, and makes the command of them.
    fn check(self) -> Result<DataCommand, Problem> {
        let kind = DataCommandType::from_name(&self.kind)
            .ok_or_else(|| command_not_allowed(&self.kind))?;
        self.reject_foreign_fields(kind)?;
        let (key, encoding) = (self.key.clone(), self.encoding);
        let arguments = self.into_arguments(kind)?;
        if arguments.len() > DataCommand::MAX_ARGUMENTS {
            let most = DataCommand::MAX_ARGUMENTS;
            return Err(Problem::validation(
                "",
                format!("One command has at most {most} arguments."),
            ));
        }
        Ok(DataCommand { kind, key, arguments, encoding })
    }

    /// Refuses a field that belongs to another type of command, and a single value beside many.
    fn reject_foreign_fields(&self, kind: DataCommandType) -> Result<(), Problem> {
        let fields = [
            ("value", self.value.is_some()),
            ("ttl_ms", self.ttl_ms.is_some()),
            ("by", self.by.is_some()),
            ("fields", self.fields.is_some()),
            ("field", self.field.is_some()),
            ("values", self.values.is_some()),
            ("members", self.members.is_some()),
            ("score", self.score.is_some()),
        ];
        let foreign = |(name, given): &&(&str, bool)| *given && !kind.fields().contains(name);
        if let Some((name, _)) = fields.iter().find(foreign) {
            let detail = format!("This command has no {name}.");
            return Err(Problem::validation(&format!("/{name}"), detail));
        }
        let many = [
            ("by", self.by.is_some()),
            ("fields", self.fields.is_some()),
            ("values", self.values.is_some()),
            ("members", self.members.is_some()),
            ("ttl_ms", self.ttl_ms.is_some() && kind != DataCommandType::Set),
        ];
        let has_one = self.value.is_some() || self.score.is_some();
        match many.iter().find(|(_, given)| *given && has_one) {
            Some((name, _)) => {
                let detail = format!("A command has {name} or a single value, and not both.");
                Err(Problem::validation(&format!("/{name}"), detail))
            }
            None => Ok(()),
        }
    }

    /// Makes the arguments of the command of Redis, after the key.
    fn into_arguments(self, kind: DataCommandType) -> Result<Vec<Vec<u8>>, Problem> {
        if self.value.is_some() && kind != DataCommandType::Set {
            return self.into_arguments_of_one(kind);
        }
        let DataCommandInput {
            value,
            ttl_ms,
            by,
            fields,
            field,
            values,
            score,
            members,
            encoding,
            ..
        } = self;
        if score.is_some() || (kind == DataCommandType::Hset && field.is_some()) {
            require("value", value.as_ref())?;
        }
        match kind {
            DataCommandType::Get | DataCommandType::Del => Ok(Vec::new()),
            DataCommandType::Set => set_arguments(require("value", value)?, ttl_ms, encoding),
            DataCommandType::Incr | DataCommandType::Decr => step(by.unwrap_or(1), "/by"),
            DataCommandType::Expire => {
                Ok(vec![require("ttl_ms", ttl_ms)?.to_string().into_bytes()])
            }
            DataCommandType::Hget => Ok(vec![require("field", field)?.into_bytes()]),
            DataCommandType::Hset => hash_arguments(require("fields", fields)?, encoding),
            DataCommandType::Lpush | DataCommandType::Rpush => {
                list_arguments(require("values", values)?, encoding)
            }
            DataCommandType::Sadd => set_members(require("members", members)?, encoding),
            DataCommandType::Zadd => sorted_set_members(require("members", members)?, encoding),
        }
    }
}

impl DataCommandInput {
    /// Makes the arguments of a command that has a single value.
    fn into_arguments_of_one(self, kind: DataCommandType) -> Result<Vec<Vec<u8>>, Problem> {
        let DataCommandInput { value, field, score, encoding, .. } = self;
        let value = require("value", value)?;
        match kind {
            DataCommandType::Incr | DataCommandType::Decr => step(value.into_number()?, "/value"),
            DataCommandType::Expire => {
                let ms = value.into_number()?.saturating_mul(1000);
                let ttl = Ttl::try_from(ms).map_err(|_| {
                    let detail = "A time to live is 1 to 2592000 seconds (30 days).";
                    Problem::validation("/value", detail)
                })?;
                Ok(vec![ttl.to_string().into_bytes()])
            }
            _ => {
                let value = encoding.decode(value.into_text()?, "/value")?;
                let before = match kind {
                    DataCommandType::Hset => Some(require("field", field)?),
                    DataCommandType::Zadd => Some(require("score", score)?.to_string()),
                    _ => None,
                };
                Ok(before.map(String::into_bytes).into_iter().chain([value]).collect())
            }
        }
    }
}

/// The argument of an increment or a decrement. The problem points at `pointer`.
fn step(by: i64, pointer: &str) -> Result<Vec<Vec<u8>>, Problem> {
    match by {
        // A decrement negates its step, and the opposite of -2^63 does not fit into 64 bits.
        i64::MIN => Err(Problem::validation(pointer, "A step is at least -(2^63 - 1).")),
        by => Ok(vec![by.to_string().into_bytes()]),
    }
}

/// The problem of a type that does not exist.
fn command_not_allowed(name: &str) -> Problem {
    let error = json!({ "pointer": "/type", "detail": "There is no such command." });
    Problem::refused(codes::COMMAND_NOT_ALLOWED, [("command", name.into())])
        .with("errors", vec![error])
}

/// Returns a field that the command needs, or a problem that points at it.
fn require<T>(name: &str, field: Option<T>) -> Result<T, Problem> {
    field.ok_or_else(|| {
        Problem::validation(&format!("/{name}"), format!("This command needs {name}."))
    })
}

/// Refuses an empty list or map.
fn require_entries(name: &str, count: usize) -> Result<(), Problem> {
    match count {
        0 => Err(Problem::validation(&format!("/{name}"), "There is at least one.")),
        _ => Ok(()),
    }
}

fn set_arguments(
    value: Scalar,
    ttl_ms: Option<Ttl>,
    encoding: Encoding,
) -> Result<Vec<Vec<u8>>, Problem> {
    let mut arguments = vec![match value {
        Scalar::Text(text) => encoding.decode(text, "/value")?,
        Scalar::Number(number) => number.to_string().into_bytes(),
    }];
    if let Some(ttl_ms) = ttl_ms {
        arguments.extend([b"PX".to_vec(), ttl_ms.to_string().into_bytes()]);
    }
    Ok(arguments)
}

fn hash_arguments(
    fields: UniqueMap<String, String>,
    encoding: Encoding,
) -> Result<Vec<Vec<u8>>, Problem> {
    let fields = fields.into_entries();
    require_entries("fields", fields.len())?;
    let mut arguments = Vec::with_capacity(2 * fields.len());
    for (field, value) in fields {
        let pointer = format!("/fields/{}", field.replace('~', "~0").replace('/', "~1"));
        let value = encoding.decode(value, &pointer)?;
        arguments.extend([field.into_bytes(), value]);
    }
    Ok(arguments)
}

fn list_arguments(values: Vec<String>, encoding: Encoding) -> Result<Vec<Vec<u8>>, Problem> {
    require_entries("values", values.len())?;
    let values = values.into_iter().enumerate();
    values.map(|(index, value)| encoding.decode(value, &format!("/values/{index}"))).collect()
}

fn set_members(members: Vec<Member>, encoding: Encoding) -> Result<Vec<Vec<u8>>, Problem> {
    require_entries("members", members.len())?;
    let decode = |(index, member)| {
        let pointer = format!("/members/{index}");
        match member {
            Member::Plain(member) => encoding.decode(member, &pointer),
            Member::Scored(_) => {
                Err(Problem::validation(&pointer, "A member of a set is a string."))
            }
        }
    };
    members.into_iter().enumerate().map(decode).collect()
}

fn sorted_set_members(members: Vec<Member>, encoding: Encoding) -> Result<Vec<Vec<u8>>, Problem> {
    require_entries("members", members.len())?;
    let mut arguments = Vec::with_capacity(2 * members.len());
    for (index, member) in members.into_iter().enumerate() {
        let pointer = format!("/members/{index}");
        let Member::Scored(ScoredMember { member, score }) = member else {
            let detail = "A member of a sorted set is an object of a member and its score.";
            return Err(Problem::validation(&pointer, detail));
        };
        let member = encoding.decode(member, &format!("{pointer}/member"))?;
        arguments.extend([score.to_string().into_bytes(), member]);
    }
    Ok(arguments)
}
