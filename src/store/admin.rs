//! Administration: what the service asks Redis for itself. `monitoring` and `sweeper` call the functions of
//! the store; `cli` and `migration` use an [`AdminConnection`], which is there before the store is used.

use std::time::Duration;

use redis::{RedisError, RedisResult};

use super::{
    Access, Failure, FormatError, Store,
    connection::{Connection, Route, checkout},
    rights::{self, Trial},
};
use crate::types::Id;

/// The oldest version of Redis that knows the flags of scripts. Every Valkey knows them.
const OLDEST_REDIS: u32 = 7;

/// The number of keys that one page of a scan looks at. It takes Redis well under a millisecond.
const SCAN_PAGE: u32 = 1000;

impl Store {
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
        let page = command.query_async(&mut *connection).await;
        let (next, keys): (u64, Vec<String>) = page.map_err(|error| {
            self.0.route.leave(connection.generation());
            read_failure(&error)
        })?;
        let things = keys.iter().filter_map(|key| {
            let (space, rest) = key.strip_prefix("lockstep:{")?.split_once("}:")?;
            let (kind, id) = rest.split_once(':')?;
            let kind = kinds.iter().find(|known| **known == kind)?;
            Some((*kind, Id::try_from(space.to_owned()).ok()?, Id::try_from(id.to_owned()).ok()?))
        });
        Ok((next, things.collect()))
    }
}

/// The reason why the service does not start on a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartRefusal {
    /// The server gives no answer now, so nothing is known yet.
    #[error(transparent)]
    Unanswered(Failure),
    /// A setting does not fit what was found.
    #[error("{0}")]
    Settings(String),
    /// The server is too old.
    #[error("the server is Redis {0}: use Redis 7.0 or newer, or Valkey")]
    TooOld(String),
    /// The user of `--redis-url` may not run these commands.
    #[error("{}: grant it, see docs/operations.md", rights::sentence(.0))]
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
    /// Writes cannot wait for replicas.
    #[error("--wait-replicas needs the command WAIT, and the server refuses it: {0}")]
    NoWait(String),
    /// Keys were made, and the service would not ask for them.
    #[error(
        "the data have keys of callers: give the root key as --root-key-file or --root-key-sha256, or --insecure to let \
         everybody in without a key"
    )]
    HasKeys,
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
    pub(super) connection: Connection,
}

impl AdminConnection {
    /// Connects to a server. `timeout` is the longest wait for the connection, and for each reply.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection.
    pub async fn connect(
        url: &str,
        access: &Access,
        timeout: Duration,
    ) -> Result<AdminConnection, StartRefusal> {
        let route = Route::new(url, access, timeout).map_err(StartRefusal::Settings)?;
        Ok(AdminConnection { connection: route.connect().await? })
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
        let missing = rights::missing(&mut self.connection, Trial::Read).await?;
        match missing.as_slice() {
            [] => Ok(()),
            [publish, subscribe] if publish == "PUBLISH" && subscribe == "SUBSCRIBE" => {
                Err(StartRefusal::MissingChannels)
            }
            _ => Err(StartRefusal::MissingRights(missing)),
        }
    }

    /// True if there is anything under a key.
    ///
    /// # Errors
    ///
    /// The reason why the server did not answer.
    pub async fn has(&mut self, key: &str) -> Result<bool, StartRefusal> {
        Ok(redis::cmd("EXISTS").arg(key).query_async(&mut self.connection).await?)
    }

    /// The server's `maxmemory-policy`; `None` where it does not tell. Any policy but `noeviction` can evict
    /// money.
    ///
    /// # Errors
    ///
    /// The reason why the server did not answer.
    pub async fn eviction_policy(&mut self) -> Result<Option<String>, StartRefusal> {
        let info = self.info("memory").await?;
        Ok(field(&info, "maxmemory_policy").map(str::to_owned))
    }

    /// Finds out whether writes can wait for replicas. No replica is waited for.
    ///
    /// # Errors
    ///
    /// The refusal of the server.
    pub async fn check_wait(&mut self) -> Result<(), StartRefusal> {
        let asked: RedisResult<u64> =
            redis::cmd("WAIT").arg(0).arg(1).query_async(&mut self.connection).await;
        match asked {
            Ok(_) => Ok(()),
            Err(error) if error.code().is_some() => Err(StartRefusal::NoWait(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// The number of replicas that the server has.
    ///
    /// # Errors
    ///
    /// The reason why the server did not answer.
    pub async fn count_replicas(&mut self, timeout: Duration) -> Result<u32, StartRefusal> {
        let counted = self.connection.count_replicas(timeout).await;
        counted.map_err(|lost| StartRefusal::Unanswered(Failure::Unavailable(lost.cause)))
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
pub(super) fn read_failure(error: &RedisError) -> Failure {
    match error.code() {
        Some(code) => Failure::from_error_reply(code, error.detail().unwrap_or_default()),
        None => Failure::Unavailable(error.to_string()),
    }
    .without_effect()
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
