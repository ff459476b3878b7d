//! Replies: gives the positions of a script's reply the names of its header, and decodes them by serde.
//! `Store::run` reads a reply into the operation's type, `atomic` and `bulk` pass it on undecoded.

use std::{fmt, str::FromStr, sync::Arc};

use redis::Value;
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};
use tokio::time::Instant;

use super::{Field, FieldKind, GUARD, Library, Script, library::RunOutcome};
use crate::{
    store::{Completed, ErasedOperation, Error, Failure, Operation, Refusal, operation::Composite},
    types::{Code, Timestamp, codes},
};

type DecodeError = serde_json::Error;

/// The answer of a Redis command on a data key. Its bytes need not be text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisValue {
    /// The key or field does not exist.
    Nil,
    /// A number of 64 bits.
    Number(i64),
    /// Bytes, or text.
    Bytes(Vec<u8>),
}

impl<'de> Deserialize<'de> for RedisValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RedisValue, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = RedisValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reply of Redis")
            }

            fn visit_none<E>(self) -> Result<RedisValue, E> {
                Ok(RedisValue::Nil)
            }

            fn visit_i64<E>(self, number: i64) -> Result<RedisValue, E> {
                Ok(RedisValue::Number(number))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<RedisValue, E> {
                Ok(RedisValue::Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Any)
    }
}

/// The result of a caller's own script: whatever Redis makes of a value of Lua.
#[derive(Debug, Clone, PartialEq)]
pub enum ScriptValue {
    /// `nil` and `false`.
    Nil,
    /// A number of 64 bits. Redis cuts off the fraction of a number of Lua, and makes 1 of `true`.
    Number(i64),
    /// Bytes, or text.
    Bytes(Vec<u8>),
    /// A status reply, such as `OK`.
    Status(String),
    /// An error reply inside of a table.
    Error(String),
    /// A table, up to its first `nil`.
    Array(Vec<ScriptValue>),
}

impl<'de> Deserialize<'de> for ScriptValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ScriptValue, D::Error> {
        // Only a reply of Redis tells a status from a text, and it has this form for one.
        deserializer.deserialize_newtype_struct(ScriptValue::NAME, ScriptVisitor)
    }
}

/// Builds a [`ScriptValue`] of what [`ReplyField`] has under its name.
struct ScriptVisitor;

impl<'de> Visitor<'de> for ScriptVisitor {
    type Value = ScriptValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply of Redis")
    }

    fn visit_none<E>(self) -> Result<ScriptValue, E> {
        Ok(ScriptValue::Nil)
    }

    fn visit_i64<E>(self, number: i64) -> Result<ScriptValue, E> {
        Ok(ScriptValue::Number(number))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<ScriptValue, E> {
        Ok(ScriptValue::Bytes(bytes))
    }

    fn visit_str<E>(self, text: &str) -> Result<ScriptValue, E> {
        Ok(ScriptValue::Status(text.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<ScriptValue, A::Error> {
        let entry = map.next_entry::<String, String>()?;
        Ok(ScriptValue::Error(entry.map(|(_, message)| message).unwrap_or_default()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<ScriptValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(ScriptValue::Array(values))
    }
}

impl ScriptValue {
    /// The name by which [`ReplyField`] knows that a value of any kind is wanted.
    const NAME: &'static str = "ScriptValue";
}

/// A script's reply for one operation, not yet decoded.
pub struct RawReply {
    pub(in crate::store) script: Arc<Script>,
    pub(in crate::store) reply: Value,
    pub(in crate::store) replayed: bool,
    /// The moment at which it was handed over; `None` for one of several operations and for one whose
    /// effect is not counted.
    pub(in crate::store) started: Option<Instant>,
}

impl RawReply {
    /// Decodes the reply of an operation, and records the duration of its run.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or [`Failure::UnexpectedReply`] where the header does not know the reply.
    pub fn read<O: Operation>(self) -> Result<Completed<O::Reply>, Error> {
        let RawReply { script, reply, replayed, started } = self;
        let result = decode::<O>(&script, reply, replayed);
        if let Some(started) = started {
            script.record(RunOutcome::from(&result), started.elapsed());
        }
        result
    }

    /// True if the operation refused.
    pub fn is_refusal(&self) -> bool {
        code_of(&self.reply) != "ok"
    }

    /// Returns the reply of each operation of a composite, up to the first refusal.
    ///
    /// # Errors
    ///
    /// [`Error::KeyReused`], or [`Failure::UnexpectedReply`] where there are no replies.
    pub(in crate::store) fn split(
        self,
        composite: &Composite<'_>,
    ) -> Result<Completed<Vec<RawReply>>, Error> {
        let RawReply { script, reply, replayed, started } = self;
        let result = replies(&script, reply, replayed);
        let outcome = match &result {
            Ok(replies) if replies.last().is_some_and(|reply| code_of(reply) != "ok") => {
                RunOutcome::Refused
            }
            result => RunOutcome::from(result),
        };
        if let Some(started) = started {
            script.record(outcome, started.elapsed());
        }
        let raw = |(operation, reply): (&&dyn ErasedOperation, Value)| RawReply {
            script: Library::embedded().script(operation.name()),
            reply,
            // Dry runs and replays must not increment metrics.
            replayed: replayed || composite.dry_run,
            started: None,
        };
        Ok(Completed {
            reply: composite.operations.iter().zip(result?).map(raw).collect(),
            replayed,
        })
    }
}

fn replies(script: &Script, reply: Value, replayed: bool) -> Result<Vec<Value>, Error> {
    match code_of(&reply) {
        "ok" => {}
        "idempotency_key_reused" => return Err(Error::KeyReused),
        // A guard of the whole call.
        code => {
            let code = code.to_owned();
            return Err(refusal(&code, script, reply, &[], replayed)?);
        }
    }
    let replies = match reply {
        Value::Array(mut values) => values.pop(),
        _ => None,
    };
    match replies {
        Some(Value::Array(replies)) => Ok(replies),
        _ => {
            Err(Failure::UnexpectedReply(format!("{}: no replies in the reply", script.name))
                .into())
        }
    }
}

/// Returns the code that a reply begins with, or nothing where it has none.
fn code_of(reply: &Value) -> &str {
    match reply {
        Value::Array(values) => match values.first() {
            Some(Value::BulkString(code)) => std::str::from_utf8(code).unwrap_or_default(),
            _ => "",
        },
        _ => "",
    }
}

fn decode<O: Operation>(
    script: &Script,
    reply: Value,
    replayed: bool,
) -> Result<Completed<O::Reply>, Error> {
    let unexpected =
        |why: &str| Failure::UnexpectedReply(format!("{}: {why} in the reply", script.name));
    let code = code_of(&reply).to_owned();
    match code.as_str() {
        "ok" => {}
        "idempotency_key_reused" => return Err(Error::KeyReused),
        code => return Err(refusal(code, script, reply, O::CODES, replayed)?),
    }
    let (fields, values) = fields_of(&code, script, reply)?;
    let map = ReplyMap { fields: fields.iter(), values, value: None };
    let reply = O::Reply::deserialize(map).map_err(|error| unexpected(&error.to_string()))?;
    Ok(Completed { reply, replayed })
}

/// Reads the refusal of an operation, or of a guard before it. Its code is one of these or of those that
/// every call can give.
fn refusal(
    code: &str,
    script: &Script,
    reply: Value,
    codes: &'static [Code],
    replayed: bool,
) -> Result<Error, Failure> {
    let guard = Library::embedded().script(GUARD);
    let is_own = script.header.replies.contains_key(code);
    let (fields, values) = fields_of(code, if is_own { script } else { &guard }, reply)?;
    let unexpected =
        |why: &str| Failure::UnexpectedReply(format!("{}: {why} in the reply", script.name));
    let code = codes.iter().chain(codes::CODES).find(|known| known.code == code);
    let code = code.ok_or_else(|| unexpected("a code that is no problem code"))?;
    let members = fields.iter().zip(values).map(|(field, value)| {
        let position = ReplyField { value, kind: field.kind };
        Ok((field.name.clone(), position.member()?))
    });
    let members = members
        .collect::<Result<_, DecodeError>>()
        .map_err(|error| unexpected(&error.to_string()))?;
    Ok(Error::Refused(Completed { reply: Refusal { code, members }, replayed }))
}

/// The fields that a header names for a reply with this code, and the values after the code.
fn fields_of<'a>(
    code: &str,
    script: &'a Script,
    reply: Value,
) -> Result<(&'a [Field], std::vec::IntoIter<Value>), Failure> {
    let unexpected =
        |why: &str| Failure::UnexpectedReply(format!("{}: {why} in the reply", script.name));
    let Value::Array(values) = reply else { return Err(unexpected("no array")) };
    let mut values = values.into_iter();
    values.next();
    match script.header.replies.get(code) {
        Some(fields) if fields.len() == values.len() => Ok((fields, values)),
        _ => Err(unexpected("a shape that the header does not know")),
    }
}

/// A reply as a map from the names of the header to its positions.
struct ReplyMap<'a> {
    fields: std::slice::Iter<'a, Field>,
    values: std::vec::IntoIter<Value>,
    value: Option<ReplyField>,
}

impl<'de> Deserializer<'de> for ReplyMap<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> de::MapAccess<'de> for ReplyMap<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let (Some(field), Some(value)) = (self.fields.next(), self.values.next()) else {
            return Ok(None);
        };
        self.value = Some(ReplyField { value, kind: field.kind });
        let name: StrDeserializer<'_, DecodeError> = field.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        seed.deserialize(value)
    }
}

/// One position of a reply. Scripts send numbers as integers or as text, and everything nested as JSON.
struct ReplyField {
    value: Value,
    kind: FieldKind,
}

impl ReplyField {
    /// Returns the value as a member of a problem: numbers stay numbers, everything else is text or JSON.
    fn member(self) -> Result<serde_json::Value, DecodeError> {
        match (self.kind, &self.value) {
            (_, Value::Nil) => Ok(serde_json::Value::Null),
            (FieldKind::Json, _) => serde_json::from_str(&self.text()?),
            (FieldKind::Instant, _) => serde_json::to_value(Timestamp::deserialize(self)?),
            (FieldKind::Plain, Value::Int(number)) => Ok((*number).into()),
            // The message of a caller's own script may have any bytes.
            (FieldKind::Plain, Value::BulkString(bytes)) => {
                Ok(String::from_utf8_lossy(bytes).into_owned().into())
            }
            (FieldKind::Plain, _) => self.text().map(serde_json::Value::String),
        }
    }

    fn text(self) -> Result<String, DecodeError> {
        match self.value {
            Value::BulkString(bytes) => String::from_utf8(bytes).map_err(de::Error::custom),
            Value::SimpleString(text) => Ok(text),
            Value::Int(number) => Ok(number.to_string()),
            other => Err(de::Error::custom(format_args!("unexpected {other:?}"))),
        }
    }

    fn number<T: FromStr>(self) -> Result<T, DecodeError>
    where
        T::Err: fmt::Display,
    {
        self.text()?.parse().map_err(de::Error::custom)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            if self.kind == FieldKind::Json { self.deserialize_any(visitor) } else { visitor.$visit(self.number()?) }
        }
    )*};
}

impl<'de> Deserializer<'de> for ReplyField {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            ReplyField { value: Value::Array(values), kind } => {
                let items = values.into_iter().map(|value| ReplyField { value, kind });
                visitor.visit_seq(de::value::SeqDeserializer::new(items))
            }
            ReplyField { value: Value::Nil, .. } => visitor.visit_none(),
            ReplyField { value: Value::BulkString(text), kind: FieldKind::Json } => {
                let mut json = serde_json::Deserializer::from_reader(text.as_slice());
                let value = de::Deserializer::deserialize_any(&mut json, visitor)?;
                json.end()?;
                Ok(value)
            }
            position => visitor.visit_string(position.text()?),
        }
    }

    numbers! {
        deserialize_bool visit_bool,
        deserialize_i64 visit_i64,
        deserialize_u64 visit_u64,
        deserialize_u32 visit_u32,
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Nil => visitor.visit_none(),
            Value::Int(number) => visitor.visit_i64(number),
            Value::BulkString(bytes) => visitor.visit_byte_buf(bytes),
            other => Err(de::Error::custom(format_args!("unexpected {other:?}"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Nil => visitor.visit_none(),
            Value::BulkString(text) if self.kind == FieldKind::Json && text == b"null" => {
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name != ScriptValue::NAME {
            return visitor.visit_newtype_struct(self);
        }
        match self.value {
            Value::SimpleString(text) => visitor.visit_string(text),
            Value::Okay => visitor.visit_string("OK".to_owned()),
            Value::ServerError(error) => {
                let message = [error.code(), error.details().unwrap_or_default()].join(" ");
                let entry = std::iter::once(("error", message.trim_end().to_owned()));
                visitor.visit_map(de::value::MapDeserializer::new(entry))
            }
            Value::Array(_) => self.deserialize_any(visitor),
            _ => self.deserialize_byte_buf(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self.text()?.into_deserializer())
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u128 f32 f64 char str string bytes
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, DecodeError> for ReplyField {
    type Deserializer = ReplyField;

    fn into_deserializer(self) -> ReplyField {
        self
    }
}
