//! Administration: what the service asks Redis for itself. `monitoring` and `sweeper` call the functions of
//! the store; `cli` and `migration` use an [`AdminConnection`], which is there before the store is used.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, aio::MultiplexedConnection};

use super::{Failure, FormatError, Store, batcher::checkout};
use crate::types::Id;

/// The oldest version of Redis that knows the flags of scripts. Every Valkey knows them.
const OLDEST_REDIS: u32 = 7;

/// The number of keys that one page of a scan looks at. It takes Redis well under a millisecond.
const SCAN_PAGE: u32 = 1000;

/// Every command that the service or one of its scripts sends. `tests/contracts.rs` holds the scripts to it.
pub const COMMANDS: &[&str] = &[
    "DECRBY",
    "DEL",
    "EVAL",
    "EVALSHA",
    "EXEC",
    "EXISTS",
    "GET",
    "GETRANGE",
    "HDEL",
    "HGET",
    "HGETALL",
    "HSET",
    "HSTRLEN",
    "INCRBY",
    "INFO",
    "LINDEX",
    "LLEN",
    "LPUSH",
    "LRANGE",
    "LTRIM",
    "MGET",
    "MSET",
    "MULTI",
    "PEXPIRE",
    "PING",
    "PTTL",
    "PUBLISH",
    "RPOP",
    "RPUSH",
    "SADD",
    "SCAN",
    "SET",
    "STRLEN",
    "SUBSCRIBE",
    "TIME",
    "TYPE",
    "UNWATCH",
    "WATCH",
    "ZADD",
    "ZCARD",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
    "ZREVRANGEBYLEX",
    "ZSCORE",
];

/// Returns those of the commands in ARGV that the user may not run on every key in KEYS. A script without
/// writes may ask that of any command. EVAL and EVALSHA need their number of keys here: Redis 7.0 reads it
/// without looking whether it is there, and crashes.
const CHECK_RIGHTS: &str = "#!lua flags=no-writes
local missing = {}
for i = 1, #ARGV do
  local command = ARGV[i]
  local may_run = true
  for j = 1, #KEYS do
    local known, allowed
    if command == 'EVAL' or command == 'EVALSHA' then
      known, allowed = pcall(redis.acl_check_cmd, command, 'return 1', '1', KEYS[j])
    elseif command == 'PUBLISH' then
      known, allowed = pcall(redis.acl_check_cmd, command, 'lockstep:process:none', 'message')
    elseif command == 'SUBSCRIBE' then
      known, allowed = pcall(redis.acl_check_cmd, command, 'lockstep:process:none')
    else
      known, allowed = pcall(redis.acl_check_cmd, command, KEYS[j])
    end
    may_run = may_run and known and allowed
  end
  if not may_run then
    missing[#missing + 1] = command
  end
end
return missing
";

impl Store {
    /// Sends a PING on a connection of its own.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a PONG.
    pub async fn ping(&self) -> Result<(), Failure> {
        let mut connection = checkout(&self.0.pool, self.0.timeout).await?;
        redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| read_failure(&error))
    }

    /// Reads one page of a scan through the keys of all spaces, and returns the things of `kinds` on it
    /// as (kind, space, id), with the cursor of the next page. The scan begins and ends with cursor 0.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn scan<'a>(
        &self,
        kinds: &[&'a str],
        cursor: u64,
    ) -> Result<(u64, Vec<(&'a str, Id, Id)>), Failure> {
        let mut connection = checkout(&self.0.pool, self.0.timeout).await?;
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(key_pattern(kinds)).arg("COUNT").arg(SCAN_PAGE);
        let page = command.query_async(&mut connection).await;
        let (next, keys): (u64, Vec<String>) =
            page.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let things = keys.iter().filter_map(|key| {
            let (space, rest) = key.strip_prefix("lockstep:{")?.split_once("}:")?;
            let (kind, id) = rest.split_once(':')?;
            let kind = kinds.iter().find(|known| **known == kind)?;
            Some((*kind, Id::try_from(space.to_owned()).ok()?, Id::try_from(id.to_owned()).ok()?))
        });
        Ok((next, things.collect()))
    }

    /// The connections that the pool has made and not given away for good: all of them, and the idle ones.
    pub fn pool_status(&self) -> (usize, usize) {
        let status = self.0.pool.status();
        (status.size, status.available)
    }
}

/// The reason why the service does not start on a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    /// The server gives no answer now, so nothing is known yet.
    #[error(transparent)]
    Unanswered(Failure),
    /// The server is too old.
    #[error("the server is Redis {0}: use Redis 7.0 or newer, or Valkey")]
    TooOld(String),
    /// The user of `--redis-url` may not run these commands.
    #[error("the Redis user lacks the right to run {}: grant it, see docs/operations.md", .0.join(", "))]
    MissingRights(Vec<String>),
    /// The user of `--redis-url` may not use the keys of the service.
    #[error(
        "the Redis user lacks a right to keys: grant it the key patterns lockstep:* and lockstep-data:* for \
         reading and writing, see docs/operations.md"
    )]
    MissingKeys,
    /// The user of `--redis-url` may not use the channels of the service.
    #[error(
        "the Redis user lacks a right to channels: grant it +publish, +subscribe and the channel pattern \
         &lockstep:*, see docs/operations.md"
    )]
    MissingChannels,
    /// The data have another format.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl From<RedisError> for StartRefusal {
    fn from(error: RedisError) -> StartRefusal {
        let details = error.detail().unwrap_or_default();
        if error.code() != Some("NOPERM") {
            return StartRefusal::Unanswered(read_failure(&error));
        }
        // Redis 7 and Valkey have other words for it, and both put the command in quotes.
        match details.split('\'').nth(1) {
            Some(command) => StartRefusal::MissingRights(vec![command.to_uppercase()]),
            None => StartRefusal::MissingKeys,
        }
    }
}

/// A connection of its own, for what comes before the first operation: the checks of the start, and
/// migrations. A pooled connection would need rights itself, and refuses data of another format.
pub struct AdminConnection {
    pub(super) connection: MultiplexedConnection,
}

impl AdminConnection {
    /// Connects to a server. `timeout` is the longest wait for the connection, and for each reply.
    ///
    /// # Errors
    ///
    /// The failure to connect.
    pub async fn connect(url: &str, timeout: Duration) -> Result<AdminConnection, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let connect = async {
            Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
        };
        let connection = connect.await.map_err(|error: RedisError| read_failure(&error))?;
        Ok(AdminConnection { connection })
    }

    /// Checks that the server is new enough and that its user may run every command that the service needs.
    ///
    /// # Errors
    ///
    /// The reason against the start.
    pub async fn check_server(&mut self) -> Result<(), StartRefusal> {
        match self.info("server").await.map_err(StartRefusal::from) {
            Ok(info) => check_version(&info)?,
            // The check of rights names this one with all others.
            Err(StartRefusal::MissingRights(_)) => {}
            Err(refusal) => return Err(refusal),
        }
        let missing = self.missing_rights().await?;
        match missing.as_slice() {
            [] => Ok(()),
            [publish, subscribe] if publish == "PUBLISH" && subscribe == "SUBSCRIBE" => {
                Err(StartRefusal::MissingChannels)
            }
            _ => Err(StartRefusal::MissingRights(missing)),
        }
    }

    /// The commands that the service needs and its Redis user may not run, in alphabetical order. A commit
    /// that lacks a right in its middle would have to be undone.
    async fn missing_rights(&mut self) -> RedisResult<Vec<String>> {
        let mut command = redis::cmd("EVAL");
        let keys = ["lockstep:{rights}:none", "lockstep-data:{rights}:none"];
        command.arg(CHECK_RIGHTS).arg(keys.len()).arg(&keys).arg(COMMANDS);
        command.query_async(&mut self.connection).await
    }

    /// The server's `maxmemory-policy`, where it tells. Any policy but `noeviction` can evict money.
    pub async fn eviction_policy(&mut self) -> Option<String> {
        let info = self.info("memory").await.ok()?;
        field(&info, "maxmemory_policy").map(str::to_owned)
    }

    async fn info(&mut self, section: &str) -> RedisResult<String> {
        redis::cmd("INFO").arg(section).query_async(&mut self.connection).await
    }
}

/// Refuses a server whose INFO has a version that is too old. Valkey tells the version of Redis that it
/// is compatible with.
fn check_version(info: &str) -> Result<(), StartRefusal> {
    let version = field(info, "redis_version").or(field(info, "valkey_version"));
    let major = |version: &str| version.split('.').next()?.parse::<u32>().ok();
    match version {
        Some(version) if major(version).is_some_and(|major| major < OLDEST_REDIS) => {
            Err(StartRefusal::TooOld(version.to_owned()))
        }
        _ => Ok(()),
    }
}

/// The value of a field in a reply to INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The failure of a command that has no effect: its outcome is never unknown.
pub(super) fn read_failure(error: &redis::RedisError) -> Failure {
    let code = error.code().unwrap_or("CLUSTERDOWN");
    Failure::from_error_reply(code, &error.to_string()).without_effect()
}

/// The pattern of the keys of `kinds`. MATCH has no alternatives, so the pattern has the ending that
/// the kinds have in common: `t_holds` of `account_holds` and `product_holds`.
fn key_pattern(kinds: &[&str]) -> String {
    let mut ending = kinds.first().copied().unwrap_or_default();
    while !kinds.iter().all(|kind| kind.ends_with(ending)) {
        ending = ending.get(1..).unwrap_or_default();
    }
    format!("lockstep:{{*}}:*{ending}:*")
}

#[cfg(test)]
mod tests {
    use super::{StartRefusal, check_version, key_pattern};

    #[test]
    fn one_pattern_matches_all_kinds() {
        assert_eq!(key_pattern(&["account_holds", "product_holds"]), "lockstep:{*}:*t_holds:*");
        assert_eq!(key_pattern(&["lease"]), "lockstep:{*}:*lease:*");
        assert_eq!(key_pattern(&["account_holds", "job"]), "lockstep:{*}:*:*");
    }

    #[test]
    fn only_redis_before_7_is_too_old() {
        for new in [
            "redis_version:7.0.15",
            "redis_version:8.4.0",
            "redis_version:7.2.4\r\nvalkey_version:9.0.0",
            "valkey_version:9.0.0",
            "",
        ] {
            assert_eq!(check_version(&format!("# Server\r\n{new}\r\n")), Ok(()));
        }
        assert_eq!(
            check_version("# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n"),
            Err(StartRefusal::TooOld("6.2.14".to_owned()))
        );
    }
}
