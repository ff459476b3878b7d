//! Rights: the commands that the service needs, and those of them that its Redis user may not run. The
//! start, the readiness and the explanation of a failed script ask for them.

use redis::RedisResult;

use super::connection::Connection;

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
    "ZMSCORE",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
    "ZSCORE",
];

/// The commands of the calls under `/scripts`. Without one of them, the calls that need it fail and no
/// others. SCRIPT stands for its subcommands EXISTS, FLUSH, KILL, LOAD and DEBUG.
pub const SCRIPT_COMMANDS: &[&str] = &["EVALSHA_RO", "EVAL_RO", "SCRIPT"];

/// The command before a script whose slot is on its way to another node. It is checked where redirects are followed.
pub const CLUSTER_COMMANDS: &[&str] = &["ASKING"];

/// The command by which writes wait for replicas. It is checked where a setting demands it.
pub const REPLICA_COMMANDS: &[&str] = &["WAIT"];

/// Returns those of the commands in ARGV that the user may not run on every key in KEYS. EVAL and EVALSHA
/// need their number of keys here: Redis 7.0 reads it without looking whether it is there, and crashes.
const CHECK_RIGHTS: &str = "
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
    elseif command == 'ASKING' then
      known, allowed = pcall(redis.acl_check_cmd, command)
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

/// The kind of script that asks for the rights. It writes nothing either way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trial {
    /// One that every server runs which takes reads.
    Read,
    /// One that the server refuses whenever it takes no writes: a replica, a server without memory, disk
    /// or enough replicas.
    Write,
}

/// The commands that the service needs at every server and those of `also` that the user of a connection may not run. A
/// commit that lacks a right in its middle would have to be undone.
///
/// `tag` is one whose slot the server owns, where it is a node of a cluster: another node's keys are refused.
pub(super) async fn missing(
    connection: &mut Connection,
    trial: Trial,
    tag: &str,
    also: &[&str],
) -> RedisResult<Vec<String>> {
    let flags = match trial {
        Trial::Read => " flags=no-writes",
        Trial::Write => "",
    };
    let mut command = redis::cmd("EVAL");
    let keys = ["lockstep", "lockstep-data"].map(|prefix| format!("{prefix}:{{{tag}}}:none"));
    command.arg(format!("#!lua{flags}{CHECK_RIGHTS}")).arg(keys.len()).arg(&keys);
    command.arg(COMMANDS).arg(also);
    command.query_async(connection).await
}

/// The sentence that names missing rights, without its end.
pub(super) fn sentence(missing: &[String]) -> String {
    format!("the Redis user lacks the right to run {}", missing.join(", "))
}
