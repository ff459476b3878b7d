//! A checked command over a data key, and the table of command types.

use serde::Serialize;
use sha1_smol::Sha1;
use utoipa::ToSchema;

use super::Encoding;
use crate::{store::Invocation, types::Id};

/// A command over a data key, named after the command of Redis: `set` and `get` for strings, `incr`
/// and `decr` for numbers, `del` and `expire` for any key, `hset` and `hget` for hashes, `lpush` and
/// `rpush` for lists, `sadd` for sets and `zadd` for sorted sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataCommandType {
    /// Writes a string.
    Set,
    /// Reads a string.
    Get,
    /// Adds to a number.
    Incr,
    /// Subtracts from a number.
    Decr,
    /// Deletes a key.
    Del,
    /// Gives a key a time to live.
    Expire,
    /// Writes fields of a hash.
    Hset,
    /// Reads a field of a hash.
    Hget,
    /// Adds values to the head of a list.
    Lpush,
    /// Adds values to the tail of a list.
    Rpush,
    /// Adds members to a set.
    Sadd,
    /// Adds members to a sorted set, each with its score.
    Zadd,
}

/// A row of the table of command types.
struct Specification {
    command_type: DataCommandType,
    /// The name that callers use.
    name: &'static str,
    /// The name of the command of Redis.
    redis_name: &'static str,
    /// The optional fields of the input that belong to this type.
    fields: &'static [&'static str],
}

const fn row(
    command_type: DataCommandType,
    name: &'static str,
    redis_name: &'static str,
    fields: &'static [&'static str],
) -> Specification {
    Specification { command_type, name, redis_name, fields }
}

/// One row for each type, in the order of the enum; a test checks the order.
const SPECIFICATIONS: [Specification; 12] = [
    row(DataCommandType::Set, "set", "SET", &["value", "ttl_ms"]),
    row(DataCommandType::Get, "get", "GET", &[]),
    row(DataCommandType::Incr, "incr", "INCRBY", &["by", "value"]),
    row(DataCommandType::Decr, "decr", "DECRBY", &["by", "value"]),
    row(DataCommandType::Del, "del", "DEL", &[]),
    row(DataCommandType::Expire, "expire", "PEXPIRE", &["ttl_ms", "value"]),
    row(DataCommandType::Hset, "hset", "HSET", &["fields", "field", "value"]),
    row(DataCommandType::Hget, "hget", "HGET", &["field"]),
    row(DataCommandType::Lpush, "lpush", "LPUSH", &["values", "value"]),
    row(DataCommandType::Rpush, "rpush", "RPUSH", &["values", "value"]),
    row(DataCommandType::Sadd, "sadd", "SADD", &["members", "value"]),
    row(DataCommandType::Zadd, "zadd", "ZADD", &["members", "score", "value"]),
];

impl DataCommandType {
    /// Returns the type that callers call by this name.
    pub fn from_name(name: &str) -> Option<DataCommandType> {
        SPECIFICATIONS.iter().find(|row| row.name == name).map(|row| row.command_type)
    }

    /// Returns the name that callers use.
    pub fn name(self) -> &'static str {
        self.specification().name
    }

    /// Returns the name of the command of Redis.
    pub fn redis_name(self) -> &'static str {
        self.specification().redis_name
    }

    /// Returns the optional fields of the input that belong to this type.
    pub fn fields(self) -> &'static [&'static str] {
        self.specification().fields
    }

    fn specification(self) -> &'static Specification {
        &SPECIFICATIONS[self as usize]
    }
}

/// A command whose input has been checked, as Redis takes it.
#[derive(Debug, Clone)]
pub struct DataCommand {
    /// Type of the command.
    pub kind: DataCommandType,
    /// Data key that it reads or changes.
    pub key: Id,
    /// Arguments of the command of Redis, after the key.
    pub arguments: Vec<Vec<u8>>,
    /// Encoding of the result.
    pub encoding: Encoding,
}

impl DataCommand {
    /// The most arguments of one command. A script hands all of them to Redis at once, on Lua's stack.
    pub const MAX_ARGUMENTS: usize = 2000;
    /// The most script arguments of all commands of one script.
    pub const MAX_SCRIPT_ARGUMENTS: usize = 6000;

    /// Returns the number of script arguments that [`DataCommand::bind`] binds.
    pub fn script_arguments(&self) -> usize {
        2 + self.arguments.len()
    }

    /// Returns the SHA-1 of a list of commands and its chunk size, in hexadecimal. Two calls have the
    /// same digest only if they ask for the same.
    pub fn digest(commands: &[DataCommand], chunk_size: usize) -> String {
        let mut sha1 = Sha1::from(chunk_size.to_string());
        for DataCommand { kind, key, arguments, encoding } in commands {
            let head = [kind.name().as_bytes(), key.as_str().as_bytes(), &[*encoding as u8]];
            for part in head.into_iter().chain(arguments.iter().map(Vec::as_slice)) {
                // The length keeps ("a", "bc") and ("ab", "c") apart.
                sha1.update(&part.len().to_le_bytes());
                sha1.update(part);
            }
        }
        sha1.digest().to_string()
    }

    /// Binds the key, the name of the command of Redis, the number of its arguments, and those.
    pub fn bind(&self, invocation: &mut Invocation) {
        invocation.data_key(&self.key).raw_arg(self.kind.redis_name());
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
    fn the_table_is_in_the_order_of_the_enum() {
        for row in SPECIFICATIONS {
            assert_eq!(row.command_type.name(), row.name);
            assert_eq!(DataCommandType::from_name(row.name), Some(row.command_type));
        }
    }
}
