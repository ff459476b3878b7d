//! Gives the positions of a reply the names that the script's header has for them, and lets serde
//! do the rest.

use std::sync::Arc;

use redis::Value;
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    Completed, ErasedOperation, Error, Failure, Library, Operation, Refusal, Script,
    header::{Field, Kind},
    library::Outcome,
    operation::All,
};
use crate::types::{Timestamp, codes};

type Fault = serde_json::Error;

/// What Redis' own commands answer on data keys, whose bytes need be no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisValue {
    /// There is nothing.
    Nothing,
    /// A whole number.
    Number(i64),
    /// Bytes, or text.
    Bytes(Vec<u8>),
}

impl<'de> Deserialize<'de> for RedisValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RedisValue, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = RedisValue;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an answer of Redis")
            }

            fn visit_none<E>(self) -> Result<RedisValue, E> {
                Ok(RedisValue::Nothing)
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

/// What a script answered for one operation, not yet read.
pub struct RawReply {
    pub(super) script: Arc<Script>,
    pub(super) reply: Value,
    pub(super) replayed: bool,
    /// Since when it was asked for, where it was on its own.
    pub(super) started: Option<tokio::time::Instant>,
}

impl RawReply {
    /// Its words and fields as the operation's reply.
    ///
    /// # Errors
    ///
    /// The operation's refusal, or a fault where the answer is none that the header knows.
    pub fn read<O: Operation>(self) -> Result<Completed<O::Reply>, Error> {
        let RawReply { script, reply, replayed, started } = self;
        let result = decode::<O>(&script, reply, replayed);
        if let Some(started) = started {
            script.record(Outcome::from(&result), started.elapsed());
        }
        result
    }

    /// Whether it is one of the words that say no.
    pub fn is_refusal(&self) -> bool {
        word(&self.reply) != "ok"
    }

    /// What each of several operations has answered that ran as one, up to the first that refuses.
    pub(super) fn split(self, all: &All<'_>) -> Result<Completed<Vec<RawReply>>, Error> {
        let RawReply { script, reply, replayed, started } = self;
        let result = replies(&script, reply);
        let outcome = match &result {
            Ok(replies) if replies.last().is_some_and(|reply| word(reply) != "ok") => {
                Outcome::Refused
            }
            result => Outcome::from(result),
        };
        if let Some(started) = started {
            script.record(outcome, started.elapsed());
        }
        let raw = |(operation, reply): (&&dyn ErasedOperation, Value)| RawReply {
            script: Library::embedded().script(operation.name()),
            reply,
            // Of what has not happened now, nobody counts anything.
            replayed: replayed || all.dry_run,
            started: None,
        };
        Ok(Completed { reply: all.operations.iter().zip(result?).map(raw).collect(), replayed })
    }
}

fn replies(script: &Script, reply: Value) -> Result<Vec<Value>, Error> {
    if word(&reply) == "idempotency_key_reused" {
        return Err(Error::KeyReused);
    }
    let replies = match reply {
        Value::Array(mut values) => values.pop(),
        _ => None,
    };
    match replies {
        Some(Value::Array(replies)) => Ok(replies),
        _ => Err(Failure::Broken(format!("{}: no replies in the reply", script.name)).into()),
    }
}

/// The word that a reply begins with, or nothing where it has none.
fn word(reply: &Value) -> &str {
    match reply {
        Value::Array(values) => match values.first() {
            Some(Value::BulkString(word)) => std::str::from_utf8(word).unwrap_or_default(),
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
    let broken = |why: &str| Failure::Broken(format!("{}: {why} in the reply", script.name));
    let word = word(&reply).to_owned();
    let Value::Array(values) = reply else { return Err(broken("no array").into()) };
    let mut values = values.into_iter();
    values.next();
    if word == "idempotency_key_reused" {
        return Err(Error::KeyReused);
    }
    let fields = match script.header.replies.get(&word) {
        Some(fields) if fields.len() == values.len() => fields,
        _ => return Err(broken("a shape that the header does not know").into()),
    };
    if word == "ok" {
        let entries = Entries { fields: fields.iter(), values, value: None };
        let reply = O::Reply::deserialize(entries).map_err(|fault| broken(&fault.to_string()))?;
        return Ok(Completed { reply, replayed });
    }
    let code = O::CODES.iter().chain(codes::CODES).find(|code| code.code == word);
    let code = code.ok_or_else(|| broken("a word that is no problem code"))?;
    let members = fields.iter().zip(values).map(|(field, value)| {
        let position = Position { value, kind: field.kind };
        Ok((field.name.clone(), position.member()?))
    });
    let members =
        members.collect::<Result<_, Fault>>().map_err(|fault| broken(&fault.to_string()))?;
    Err(Error::Refused(Completed { reply: Refusal { code, members }, replayed }))
}

/// A reply as a struct.
struct Entries<'a> {
    fields: std::slice::Iter<'a, Field>,
    values: std::vec::IntoIter<Value>,
    value: Option<Position>,
}

impl<'de> Deserializer<'de> for Entries<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let (Some(field), Some(value)) = (self.fields.next(), self.values.next()) else {
            return Ok(None);
        };
        self.value = Some(Position { value, kind: field.kind });
        let name: StrDeserializer<'_, Fault> = field.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        seed.deserialize(value)
    }
}

/// One position. Scripts send numbers as integers or as text, and everything nested as JSON.
struct Position {
    value: Value,
    kind: Kind,
}

impl Position {
    /// A member of a problem: numbers stay numbers, everything else is text or JSON.
    fn member(self) -> Result<serde_json::Value, Fault> {
        match (self.kind, &self.value) {
            (_, Value::Nil) => Ok(serde_json::Value::Null),
            (Kind::Json, _) => serde_json::from_str(&self.text()?),
            (Kind::Instant, _) => serde_json::to_value(Timestamp::deserialize(self)?),
            (Kind::Plain, Value::Int(number)) => Ok((*number).into()),
            (Kind::Plain, _) => self.text().map(serde_json::Value::String),
        }
    }

    fn text(self) -> Result<String, Fault> {
        match self.value {
            Value::BulkString(bytes) => String::from_utf8(bytes).map_err(de::Error::custom),
            Value::SimpleString(text) => Ok(text),
            Value::Int(number) => Ok(number.to_string()),
            other => Err(de::Error::custom(format_args!("unexpected {other:?}"))),
        }
    }

    fn number<T: std::str::FromStr>(self) -> Result<T, Fault>
    where
        T::Err: std::fmt::Display,
    {
        self.text()?.parse().map_err(de::Error::custom)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            if self.kind == Kind::Json { self.deserialize_any(visitor) } else { visitor.$visit(self.number()?) }
        }
    )*};
}

impl<'de> Deserializer<'de> for Position {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Position { value: Value::Array(values), kind } => {
                let items = values.into_iter().map(|value| Position { value, kind });
                visitor.visit_seq(de::value::SeqDeserializer::new(items))
            }
            Position { value: Value::Nil, .. } => visitor.visit_none(),
            Position { value: Value::BulkString(text), kind: Kind::Json } => {
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

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Nil => visitor.visit_none(),
            Value::Int(number) => visitor.visit_i64(number),
            Value::BulkString(bytes) => visitor.visit_byte_buf(bytes),
            other => Err(de::Error::custom(format_args!("unexpected {other:?}"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Nil => visitor.visit_none(),
            Value::BulkString(text) if self.kind == Kind::Json && text == b"null" => {
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.text()?.into_deserializer())
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u128 f32 f64 char str string bytes
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Position {
    type Deserializer = Position;

    fn into_deserializer(self) -> Position {
        self
    }
}
