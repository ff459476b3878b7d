//! Looking at what is stored: the kinds of keys with their decoders, and the reading of one key by them. Each
//! domain lists its kinds, `domains` joins the lists, and `cli` shows a key.

use std::collections::BTreeMap;

use redis::{FromRedisValue, Pipeline};
use serde_json::{Map, Value, json};

use super::{
    AdminConnection, Failure, FormatError,
    admin::read_failure,
    format::{SYSTEM_KEYS, check_text},
};

/// One kind of key, `lockstep:{space}:<kind>:<id>`, and the reading of what Redis has under it.
#[derive(Debug)]
pub struct KeyKind {
    /// The kind, as it stands in the key.
    pub kind: &'static str,
    /// The type that Redis has for it, with the decoder of its parts.
    pub content: KeyContent,
}

/// The type of a key in Redis.
#[derive(Debug, Clone, Copy)]
pub enum KeyContent {
    /// A string, which is one record.
    Record(Decode),
    /// A list of entries, the oldest first.
    Log(Decode),
    /// A hash with one record in each field. The name of a field is decoded as well.
    Records(fn(&[u8]) -> Option<String>, Decode),
    /// A sorted set, with the decoder of its members.
    SortedSet(fn(&[u8]) -> Option<String>),
}

/// Decodes a record; `None` where the bytes have no layout that is known.
pub type Decode = fn(&[u8]) -> Option<Value>;

impl KeyContent {
    /// The word of Redis for the type.
    fn redis_type(self) -> &'static str {
        match self {
            KeyContent::Record(_) => "string",
            KeyContent::Log(_) => "list",
            KeyContent::Records(..) => "hash",
            KeyContent::SortedSet(_) => "zset",
        }
    }
}

/// Decodes a record that is JSON.
pub fn json_record(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// Decodes a record that is text.
pub fn text_record(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(Value::from)
}

/// Decodes the name of a field, or a member of a sorted set, that is text.
pub fn text_field(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// The kinds that belong to no domain: idempotency records, and the indexes of all spaces.
pub const SHARED_KINDS: &[KeyKind] = &[
    KeyKind { kind: "once", content: KeyContent::Record(idempotency_record) },
    KeyKind { kind: "index", content: KeyContent::SortedSet(text_field) },
];

/// Decodes an idempotency record: the fingerprint of the call, and its reply as MessagePack.
fn idempotency_record(bytes: &[u8]) -> Option<Value> {
    let (fingerprint, mut reply) = bytes.split_at_checked(40)?;
    let fingerprint = text_record(fingerprint)?;
    let value = rmpv::decode::read_value(&mut reply).ok()?;
    Some(json!({ "fingerprint": fingerprint, "reply": plain(value) })).filter(|_| reply.is_empty())
}

/// A MessagePack value as JSON. Bytes that are no text, such as values of data keys, lose what is none.
fn plain(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil | rmpv::Value::Ext(..) => Value::Null,
        rmpv::Value::Boolean(truth) => truth.into(),
        rmpv::Value::Integer(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_u64().into(),
        },
        rmpv::Value::F32(number) => number.into(),
        rmpv::Value::F64(number) => number.into(),
        rmpv::Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        rmpv::Value::Binary(bytes) => String::from_utf8_lossy(&bytes).into(),
        rmpv::Value::Array(items) => items.into_iter().map(plain).collect(),
        rmpv::Value::Map(entries) => {
            let entries = entries.into_iter().map(|(name, value)| {
                let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                (name, plain(value))
            });
            Value::Object(entries.collect())
        }
    }
}

/// The reason why a key cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// The key is not one of the service.
    #[error(
        "{0} is no key of the service: its keys are lockstep:{{SPACE}}:KIND:ID, see docs/architecture.md"
    )]
    NotOurs(String),
    /// The key belongs to callers.
    #[error(
        "{0} is a data key of callers, whose content the service does not know: read it with redis-cli"
    )]
    DataKey(String),
    /// The key has a kind that this version does not write.
    #[error("this version has no keys of the kind {kind}; the kinds are {}", .known.join(", "))]
    UnknownKind {
        /// The kind in the key.
        kind: String,
        /// The kinds that there are.
        known: Vec<&'static str>,
    },
    /// There is nothing under the key, or not any more.
    #[error("there is no key {0}")]
    Missing(String),
    /// Somebody else has written the key.
    #[error("the key {key} has another type than {expected}: the service has not written it")]
    OtherType {
        /// The key.
        key: String,
        /// The type that the kind has, by the word of Redis.
        expected: &'static str,
    },
    /// The bytes under the key are no record that this version knows.
    #[error("the key {0} holds a record whose layout this version does not know")]
    UnknownLayout(String),
    /// The data have another format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The server gave no answer.
    #[error("{0}")]
    Failed(Failure),
}

/// The reply to the read of a key: its number of parts, those that were asked for, and its time to live.
type Parts<T> = (i64, T, i64);

impl AdminConnection {
    /// Reads a key, decoded: `key`, `type`, `expires_in_ms` (null without an end), and `value`. Of a
    /// collection it has at most `limit` parts in `value`, of a log the newest first, and says in `count` how
    /// many there are and in `left_out` how many of them are not shown. It writes nothing.
    ///
    /// # Errors
    ///
    /// The sentence that says why the key cannot be shown.
    pub async fn show<'a>(
        &mut self,
        key: &str,
        kinds: impl Iterator<Item = &'a KeyKind>,
        limit: usize,
    ) -> Result<Value, ShowError> {
        let content = match SYSTEM_KEYS.iter().find(|(name, _)| *name == key) {
            Some((_, content)) => *content,
            None => {
                let content = content_of(key, kinds)?;
                let format = self.format_text().await;
                let format = format.map_err(|error| ShowError::Failed(read_failure(&error)))?;
                format.map_or(Ok(()), |text| check_text(&text))?;
                content
            }
        };
        let (count, value, ttl_ms) = self.decoded(key, content, limit).await?;
        Ok(shown(key, content, ttl_ms, count, value))
    }

    /// Returns the number of parts of a collection, the decoded value, and the time to live.
    async fn decoded(
        &mut self,
        key: &str,
        content: KeyContent,
        limit: usize,
    ) -> Result<(Option<i64>, Value, i64), ShowError> {
        let unreadable = || ShowError::UnknownLayout(key.to_owned());
        let last = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut pipe = redis::pipe();
        pipe.atomic();
        Ok(match content {
            KeyContent::Record(decode) => {
                pipe.cmd("STRLEN").arg(key).cmd("GET").arg(key);
                let (_, bytes, ttl_ms): Parts<Vec<u8>> = self.read(key, content, pipe).await?;
                (None, decode(&bytes).ok_or_else(unreadable)?, ttl_ms)
            }
            KeyContent::Log(decode) => {
                pipe.cmd("LLEN").arg(key).cmd("LRANGE").arg(key).arg(-last).arg(-1);
                let (count, entries, ttl_ms): Parts<Vec<Vec<u8>>> =
                    self.read(key, content, pipe).await?;
                let entries = entries.iter().rev().map(|entry| decode(entry));
                (Some(count), entries.collect::<Option<_>>().ok_or_else(unreadable)?, ttl_ms)
            }
            KeyContent::Records(name, decode) => {
                pipe.cmd("EXISTS").arg(key).cmd("HGETALL").arg(key);
                let (_, fields, ttl_ms): Parts<BTreeMap<Vec<u8>, Vec<u8>>> =
                    self.read(key, content, pipe).await?;
                let decoded = fields.iter().take(limit);
                let decoded = decoded.map(|(field, text)| Some((name(field)?, decode(text)?)));
                let decoded: Option<Map<_, _>> = decoded.collect();
                let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
                (Some(count), decoded.ok_or_else(unreadable)?.into(), ttl_ms)
            }
            KeyContent::SortedSet(name) => {
                pipe.cmd("ZCARD").arg(key);
                pipe.cmd("ZRANGE").arg(key).arg(0).arg(last - 1).arg("WITHSCORES");
                let (count, members, ttl_ms): Parts<Vec<(Vec<u8>, f64)>> =
                    self.read(key, content, pipe).await?;
                let member = |(member, score): &(Vec<u8>, f64)| {
                    Some(json!({ "member": name(member)?, "score": whole(*score) }))
                };
                let members = members.iter().map(member);
                (Some(count), members.collect::<Option<_>>().ok_or_else(unreadable)?, ttl_ms)
            }
        })
    }

    /// Sends a transaction that reads a key, and has it read its time to live too. The parts of the answer fit
    /// together, because nothing comes in between.
    async fn read<T: FromRedisValue>(
        &mut self,
        key: &str,
        content: KeyContent,
        mut pipe: Pipeline,
    ) -> Result<Parts<T>, ShowError> {
        pipe.cmd("PTTL").arg(key);
        let connection = self.owner_of(key).map_err(ShowError::Failed)?;
        let parts = pipe.query_async::<Parts<Option<T>>>(connection).await;
        match parts {
            Ok((_, _, -2) | (_, None, _)) => Err(ShowError::Missing(key.to_owned())),
            Ok((count, Some(value), ttl_ms)) => Ok((count, value, ttl_ms)),
            Err(error) if error.to_string().contains("WRONGTYPE") => {
                Err(ShowError::OtherType { key: key.to_owned(), expected: content.redis_type() })
            }
            Err(error) => Err(ShowError::Failed(read_failure(&error))),
        }
    }
}

/// Finds the kind of a key, which is the word behind its space.
fn content_of<'a>(
    key: &str,
    kinds: impl Iterator<Item = &'a KeyKind>,
) -> Result<KeyContent, ShowError> {
    if key.starts_with("lockstep-data:{") {
        return Err(ShowError::DataKey(key.to_owned()));
    }
    let rest = key.strip_prefix("lockstep:{").and_then(|rest| rest.split_once("}:"));
    let Some((kind, _)) = rest.and_then(|(_, rest)| rest.split_once(':')) else {
        return Err(ShowError::NotOurs(key.to_owned()));
    };
    let kinds: Vec<_> = kinds.collect();
    match kinds.iter().find(|known| known.kind == kind) {
        Some(known) => Ok(known.content),
        None => {
            let known = kinds.iter().map(|known| known.kind).collect();
            Err(ShowError::UnknownKind { kind: kind.to_owned(), known })
        }
    }
}

/// The answer to a read.
fn shown(key: &str, content: KeyContent, ttl_ms: i64, count: Option<i64>, value: Value) -> Value {
    let mut shown = json!({
        "key": key,
        "type": content.redis_type(),
        "expires_in_ms": (ttl_ms >= 0).then_some(ttl_ms),
    });
    if let Some(count) = count {
        let parts = value.as_array().map(Vec::len).or(value.as_object().map(Map::len));
        shown["count"] = count.into();
        shown["left_out"] = (count - parts.unwrap_or_default() as i64).into();
    }
    shown["value"] = value;
    shown
}

/// A score as JSON: a whole number where it is one, as all of ours are.
fn whole(score: f64) -> Value {
    if score.fract() == 0.0 { (score as i64).into() } else { score.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_record_is_read_to_its_end() {
        let record = |reply: &[u8]| [&[b'f'; 40], reply].concat();
        // An array of the text "ok", the number -1, true, nil and the number 0.5.
        let mut reply = vec![0x95, 0xa2, b'o', b'k', 0xff, 0xc3, 0xc0, 0xcb];
        reply.extend(0.5_f64.to_be_bytes());
        let shown = idempotency_record(&record(&reply)).unwrap();
        assert_eq!(shown["reply"], json!(["ok", -1, true, null, 0.5]));
        assert_eq!(shown["fingerprint"], "f".repeat(40));
        reply.push(0);
        assert_eq!(idempotency_record(&record(&reply)), None);
        assert_eq!(idempotency_record(b"short"), None);
    }

    #[test]
    fn a_key_that_is_not_shown_is_refused_by_its_reason() {
        let content = |key: &str| content_of(key, SHARED_KINDS.iter()).map(|_| ());
        assert_eq!(content("lockstep:{main}:once:a:b"), Ok(()));
        for key in ["alice", "lockstep:main:once:a", "lockstep:{main}:once", "lockstep:formats"] {
            assert_eq!(content(key), Err(ShowError::NotOurs(key.to_owned())));
        }
        let sentence = content("lockstep:{main}:thing:1").unwrap_err().to_string();
        assert_eq!(
            sentence,
            "this version has no keys of the kind thing; the kinds are once, index"
        );
        let data = "lockstep-data:{main}:once:a".to_owned();
        assert_eq!(content(&data), Err(ShowError::DataKey(data)));
    }
}
