use serde::Serialize;
use sha1_smol::Sha1;
use utoipa::ToSchema;

use super::Encoding;
use crate::{store::Invocation, types::Id};

/// What can be done to a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DataCommandType)]
pub enum Word {
    /// Writes a string.
    Set,
    /// Reads a string.
    Get,
    /// Counts up.
    Incr,
    /// Counts down.
    Decr,
    /// Removes a key.
    Del,
    /// Gives a key an end.
    Expire,
    /// Writes fields of a hash.
    Hset,
    /// Reads a field of a hash.
    Hget,
    /// Puts values at the head of a list.
    Lpush,
    /// Puts values at the end of a list.
    Rpush,
    /// Puts members into a set.
    Sadd,
    /// Puts members with their scores into a sorted set.
    Zadd,
}

/// Each with its name, with Redis' name for it, and with the fields that it takes.
const WORDS: [(Word, &str, &str, &[&str]); 12] = [
    (Word::Set, "set", "SET", &["value", "ttl_ms"]),
    (Word::Get, "get", "GET", &[]),
    (Word::Incr, "incr", "INCRBY", &["by"]),
    (Word::Decr, "decr", "DECRBY", &["by"]),
    (Word::Del, "del", "DEL", &[]),
    (Word::Expire, "expire", "PEXPIRE", &["ttl_ms"]),
    (Word::Hset, "hset", "HSET", &["fields"]),
    (Word::Hget, "hget", "HGET", &["field"]),
    (Word::Lpush, "lpush", "LPUSH", &["values"]),
    (Word::Rpush, "rpush", "RPUSH", &["values"]),
    (Word::Sadd, "sadd", "SADD", &["members"]),
    (Word::Zadd, "zadd", "ZADD", &["members"]),
];

impl Word {
    /// The one of that name.
    pub fn named(name: &str) -> Option<Word> {
        WORDS.iter().find(|(_, known, ..)| *known == name).map(|(word, ..)| *word)
    }

    /// What callers call it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What Redis calls it.
    pub fn of_redis(self) -> &'static str {
        self.row().2
    }

    /// The fields of its input.
    pub fn fields(self) -> &'static [&'static str] {
        self.row().3
    }

    fn row(self) -> &'static (Word, &'static str, &'static str, &'static [&'static str]) {
        // The table is in the order of the enum, and a test holds it there.
        &WORDS[self as usize]
    }
}

/// A command that has been checked.
#[derive(Debug, Clone)]
pub struct Command {
    /// What it does.
    pub word: Word,
    /// To which data key.
    pub key: Id,
    /// What Redis is given after the key.
    pub arguments: Vec<Vec<u8>>,
    /// How its result is written.
    pub encoding: Encoding,
}

impl Command {
    /// The most arguments of one command, and the most words of all commands of one script: so many
    /// go through Lua at once.
    pub const MAX_ARGUMENTS: usize = 2000;
    /// See [`Command::MAX_ARGUMENTS`].
    pub const MAX_WORDS: usize = 6000;

    /// How many words it is to the script.
    pub fn words(&self) -> usize {
        2 + self.arguments.len()
    }

    /// What tells a list of commands, run in chunks of a size, from all others.
    pub fn digest(commands: &[Command], chunk_size: usize) -> String {
        let mut sha1 = Sha1::from(chunk_size.to_string());
        for Command { word, key, arguments, encoding } in commands {
            let given = [word.name().as_bytes(), key.as_str().as_bytes(), &[*encoding as u8]];
            for part in given.into_iter().chain(arguments.iter().map(Vec::as_slice)) {
                // The length keeps ("a", "bc") and ("ab", "c") apart.
                sha1.update(&part.len().to_le_bytes());
                sha1.update(part);
            }
        }
        sha1.digest().to_string()
    }

    /// Binds its key, and its words.
    pub fn bind(&self, invocation: &mut Invocation) {
        invocation.data_key(&self.key).raw_arg(self.word.of_redis());
        invocation.raw_arg(self.arguments.len().to_string());
        for argument in &self.arguments {
            invocation.raw_arg(argument);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_words() {
        for (word, name, ..) in WORDS {
            assert_eq!(word.name(), name);
            assert_eq!(Word::named(name), Some(word));
        }
    }
}
