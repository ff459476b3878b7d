//! Administration: what the service asks Redis for itself. `monitoring`, `sweeper` and `cli` call it.

use super::{Failure, Store, batcher::checkout};
use crate::types::Id;

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
    "RPOP",
    "RPUSH",
    "SADD",
    "SCAN",
    "SET",
    "STRLEN",
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

    /// The server's `maxmemory-policy`, where it answers. Any policy but `noeviction` can evict money.
    pub async fn eviction_policy(&self) -> Option<String> {
        let mut connection = checkout(&self.0.pool, self.0.timeout).await.ok()?;
        let info: String =
            redis::cmd("INFO").arg("memory").query_async(&mut connection).await.ok()?;
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?;
        Some(policy.trim().to_owned())
    }

    /// The commands that the service needs and its Redis user may not run, in alphabetical order. A commit
    /// that lacks a right in its middle would have to be undone.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply. [`Failure::Unavailable`] with the code `NOPERM` means that
    /// the user may run no script at all.
    pub async fn missing_rights(&self) -> Result<Vec<String>, Failure> {
        let mut connection = checkout(&self.0.pool, self.0.timeout).await?;
        let mut command = redis::cmd("EVAL");
        let keys = ["lockstep:{rights}:none", "lockstep-data:{rights}:none"];
        command.arg(CHECK_RIGHTS).arg(keys.len()).arg(&keys).arg(COMMANDS);
        command.query_async(&mut connection).await.map_err(|error| read_failure(&error))
    }

    /// The connections that the pool has made and not given away for good: all of them, and the idle ones.
    pub fn pool_status(&self) -> (usize, usize) {
        let status = self.0.pool.status();
        (status.size, status.available)
    }
}

/// The failure of a command that has no effect: its outcome is never unknown.
fn read_failure(error: &redis::RedisError) -> Failure {
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
    use super::key_pattern;

    #[test]
    fn one_pattern_matches_all_kinds() {
        assert_eq!(key_pattern(&["account_holds", "product_holds"]), "lockstep:{*}:*t_holds:*");
        assert_eq!(key_pattern(&["lease"]), "lockstep:{*}:*lease:*");
        assert_eq!(key_pattern(&["account_holds", "job"]), "lockstep:{*}:*:*");
    }
}
