use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Command, Word, codes, refuse};
use crate::{
    api::{Problem, read_json},
    types::{Id, Ttl, enum_from_str},
};

/// One command over a data key. Which fields there are goes with the type.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DataCommand, example = json!({ "type": "incr", "key": "visits", "by": 1 }))]
pub struct Input {
    /// What to do.
    #[serde(rename = "type")]
    #[schema(value_type = Word)]
    pub kind: String,
    /// Of which key; the caller's own, and none of the service's.
    pub key: Id,
    /// Of `set`.
    pub value: Option<String>,
    /// Of `set`, where it is to end, and of `expire`.
    pub ttl_ms: Option<Ttl>,
    /// Of `incr` and `decr`: how far, 1 where nothing is said.
    pub by: Option<i64>,
    /// Of `hset`.
    pub fields: Option<BTreeMap<String, String>>,
    /// Of `hget`.
    pub field: Option<String>,
    /// Of `lpush` and `rpush`.
    pub values: Option<Vec<String>>,
    /// Of `sadd`: strings; of `zadd`: objects of a `member` and its `score`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub members: Option<Vec<Member>>,
    /// How the values in it and in its result are written.
    #[serde(default, deserialize_with = "enum_from_str")]
    #[schema(default = "text")]
    pub encoding: Encoding,
}

/// How bytes are written in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As they are, in UTF-8.
    #[default]
    Text,
    /// In base64 (RFC 4648, with padding), for bytes that are no text.
    Base64,
}

impl Encoding {
    /// The bytes of a value at a pointer.
    ///
    /// # Errors
    ///
    /// Where it is to be base64 and is not.
    pub fn decode(self, value: String, pointer: &str) -> Result<Vec<u8>, Problem> {
        match self {
            Encoding::Text => Ok(value.into_bytes()),
            Encoding::Base64 => BASE64_STANDARD
                .decode(value)
                .map_err(|error| refuse(format!("This is no base64: {error}."), pointer)),
        }
    }
}

/// A member of a set, or of a sorted set with its score.
#[derive(Debug)]
pub enum Member {
    /// Of a set.
    Plain(String),
    /// Of a sorted set.
    Scored(Scored),
}

/// A member of a sorted set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    member: String,
    score: f64,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Member;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, or an object of a member and its score")
            }

            fn visit_str<E>(self, member: &str) -> Result<Member, E> {
                Ok(Member::Plain(member.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
                Scored::deserialize(MapAccessDeserializer::new(map)).map(Member::Scored)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Input {
    /// Reads a list of commands.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, with pointers that begin at `/operations`.
    pub fn read_all(list: &[Box<RawValue>], most: usize) -> Result<Vec<Command>, Problem> {
        if !(1..=most).contains(&list.len()) {
            return Err(refuse(format!("There are 1 to {most} operations."), "/operations"));
        }
        let read = |(index, text): (usize, &RawValue)| {
            read_json::<Input>(text.get().as_bytes())
                .and_then(Input::check)
                .map_err(|problem| problem.prefix_pointer(&format!("/operations/{index}")))
        };
        list.iter().map(AsRef::as_ref).enumerate().map(read).collect()
    }

    /// The command, with its arguments as Redis takes them.
    fn check(self) -> Result<Command, Problem> {
        let Some(word) = Word::named(&self.kind) else {
            let members = [("command", self.kind.as_str().into())];
            return Err(Problem::refused(codes::COMMAND_NOT_ALLOWED, members)
                .with("errors", vec![serde_json::json!({ "pointer": "/type", "detail": "There is no such command." })]));
        };
        self.refuse_foreign(word)?;
        let Input { key, value, ttl_ms, by, fields, field, values, members, encoding, .. } = self;
        let missing =
            |name: &str| refuse(format!("This command needs {name}."), &format!("/{name}"));
        let some = |count: usize, name: &str| match count {
            0 => Err(refuse("There is at least one.", &format!("/{name}"))),
            _ => Ok(()),
        };
        let ttl = |ttl: Ttl| ttl.to_string().into_bytes();
        let arguments = match word {
            Word::Get | Word::Del => Vec::new(),
            Word::Set => {
                let value = value.ok_or_else(|| missing("value"))?;
                let mut arguments = vec![encoding.decode(value, "/value")?];
                if let Some(ttl_ms) = ttl_ms {
                    arguments.extend([b"PX".to_vec(), ttl(ttl_ms)]);
                }
                arguments
            }
            Word::Incr | Word::Decr => match by.unwrap_or(1) {
                // Its opposite is no number of 64 bits.
                i64::MIN => return Err(refuse("A step is at least -(2^63 - 1).", "/by")),
                by => vec![by.to_string().into_bytes()],
            },
            Word::Expire => vec![ttl(ttl_ms.ok_or_else(|| missing("ttl_ms"))?)],
            Word::Hget => {
                let field = field.ok_or_else(|| missing("field"))?;
                vec![field.into_bytes()]
            }
            Word::Hset => {
                let fields = fields.ok_or_else(|| missing("fields"))?;
                some(fields.len(), "fields")?;
                let mut arguments = Vec::with_capacity(2 * fields.len());
                for (field, value) in fields {
                    let pointer =
                        format!("/fields/{}", field.replace('~', "~0").replace('/', "~1"));
                    let value = encoding.decode(value, &pointer)?;
                    arguments.extend([field.into_bytes(), value]);
                }
                arguments
            }
            Word::Lpush | Word::Rpush => {
                let values = values.ok_or_else(|| missing("values"))?;
                some(values.len(), "values")?;
                let values = values.into_iter().enumerate();
                let decode = |(index, value)| encoding.decode(value, &format!("/values/{index}"));
                values.map(decode).collect::<Result<_, _>>()?
            }
            Word::Sadd | Word::Zadd => {
                let members = members.ok_or_else(|| missing("members"))?;
                some(members.len(), "members")?;
                let mut arguments = Vec::with_capacity(2 * members.len());
                for (index, member) in members.into_iter().enumerate() {
                    let pointer = format!("/members/{index}");
                    match (word, member) {
                        (Word::Sadd, Member::Plain(member)) => {
                            arguments.push(encoding.decode(member, &pointer)?);
                        }
                        (Word::Zadd, Member::Scored(Scored { member, score })) => {
                            let member = encoding.decode(member, &format!("{pointer}/member"))?;
                            arguments.extend([score.to_string().into_bytes(), member]);
                        }
                        (Word::Sadd, _) => {
                            return Err(refuse("A member of a set is a string.", &pointer));
                        }
                        _ => {
                            let detail =
                                "A member of a sorted set is an object of a member and its score.";
                            return Err(refuse(detail, &pointer));
                        }
                    }
                }
                arguments
            }
        };
        if arguments.len() > Command::MAX_ARGUMENTS {
            let most = Command::MAX_ARGUMENTS;
            return Err(refuse(format!("One command has at most {most} arguments."), ""));
        }
        Ok(Command { word, key, arguments, encoding })
    }

    fn refuse_foreign(&self, word: Word) -> Result<(), Problem> {
        let given = [
            ("value", self.value.is_some()),
            ("ttl_ms", self.ttl_ms.is_some()),
            ("by", self.by.is_some()),
            ("fields", self.fields.is_some()),
            ("field", self.field.is_some()),
            ("values", self.values.is_some()),
            ("members", self.members.is_some()),
        ];
        let own = word.fields();
        match given.iter().find(|(name, given)| *given && !own.contains(name)) {
            Some((name, _)) => {
                Err(refuse(format!("This command has no {name}."), &format!("/{name}")))
            }
            None => Ok(()),
        }
    }
}
