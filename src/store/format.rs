//! The format of the data: the number of the layout in which scripts read and write records. The key
//! `lockstep:format` holds it. `cli` has it checked at the start and registers the service, `migration`
//! changes it, and `connection` looks at it on every new connection.

use std::time::Duration;

use redis::RedisResult;
use serde::{Deserialize, Serialize};

use super::{
    admin::{AdminConnection, StartRefusal},
    connection::Connection,
    migration::MigrationStep,
    stored_key::{KeyContent, json_record, text_field, text_record},
};

/// The format of this version's scripts, which is the number of the last step in `migrations-lua/once`.
pub const FORMAT: u64 = 2;

/// The time for which a service counts as running after its last registration. `lockstep migrate` refuses
/// to run within it, so a service that is killed delays a migration by this time at most.
pub const REGISTRATION_TTL: Duration = Duration::from_secs(30);

/// The keys that belong to no space, with what they hold.
pub(super) const SYSTEM_KEYS: [(&str, KeyContent); 3] = [
    ("lockstep:format", KeyContent::Record(json_record)),
    ("lockstep:migrations", KeyContent::Records(text_field, text_record)),
    ("lockstep:services", KeyContent::SortedSet(text_field)),
];

/// The pages of the scan that looks for records of ours, and the keys that Redis looks at for each, which take
/// it about a millisecond.
const MAX_LOOKS: usize = 200;
const KEYS_OF_A_LOOK: usize = 5000;

/// Registers a service if the data have its format, and returns the text of the format. A store without one
/// gets it first, and the steps that lead to it are recorded as if they had run.
/// ARGV: the text of the service's format, the service, its time to live, and for each step its name and
/// SHA-1.
const REGISTER: &str = "#!lua flags=allow-oom,allow-cross-slot-keys
local own, service, ttl_ms = unpack(ARGV, 1, 3)
local text = redis.call('GET', 'lockstep:format')
if not text then
  text = own
  redis.call('SET', 'lockstep:format', text)
  redis.call('HSET', 'lockstep:migrations', unpack(ARGV, 4))
end
if text == own then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', 'lockstep:services', '-inf', now)
  redis.call('ZADD', 'lockstep:services', now + ttl_ms, service)
end
return text
";

/// Registers a service, or renews its registration. KEYS: `lockstep:services`. ARGV: the service and its time to
/// live.
const RENEW: &str = "#!lua flags=allow-oom
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
";

/// The value of `lockstep:format`, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataFormat {
    /// The format that all data have; or had, while they are being migrated.
    pub format: u64,
    /// The format that they are being migrated to. Records of both are mixed meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrating_to: Option<u64>,
}

impl DataFormat {
    /// The format of data that are not being migrated.
    pub fn settled(format: u64) -> DataFormat {
        DataFormat { format, migrating_to: None }
    }

    pub fn parse(text: &str) -> Result<DataFormat, FormatError> {
        serde_json::from_str(text).map_err(|_| FormatError::Unreadable(text.to_owned()))
    }

    pub fn text(self) -> String {
        // Two numbers as JSON cannot fail.
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// Refuses every format but the one of this version's scripts.
    fn check(self) -> Result<(), FormatError> {
        match self {
            DataFormat { format: from, migrating_to: Some(to) } => {
                Err(FormatError::Migrating { from, to })
            }
            DataFormat { format: FORMAT, .. } => Ok(()),
            DataFormat { format, .. } if format < FORMAT => Err(FormatError::Older(format)),
            DataFormat { format, .. } => Err(FormatError::Newer { found: format, own: FORMAT }),
        }
    }
}

/// The reason why this version must not touch the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The data have an older format.
    #[error(
        "the data have format {0} and this version needs format {FORMAT}: stop every service on them and \
         run lockstep migrate, or use the version that wrote them"
    )]
    Older(u64),
    /// The data have a newer format.
    #[error(
        "the data have format {found} and this version knows only format {own}: use a version for format {found}"
    )]
    Newer {
        /// The format that the data have, or are being migrated to.
        found: u64,
        /// The newest format that is known here.
        own: u64,
    },
    /// A migration is running, or was interrupted.
    #[error(
        "the data are being migrated from format {from} to format {to}: wait until lockstep migrate has \
         ended, or run it again if it was interrupted"
    )]
    Migrating {
        /// The format before the migration.
        from: u64,
        /// The format after it.
        to: u64,
    },
    /// There are records of ours, and no format.
    #[error(
        "the store has data of Lockstep and no key lockstep:format, so their format is not known: restore the \
         key from a backup, or use another database"
    )]
    Unlabelled,
    /// Somebody else has written the key.
    #[error("the key lockstep:format holds {0:?}, which is no format: restore it from a backup")]
    Unreadable(String),
}

/// Reads `lockstep:format`.
async fn read(connection: &mut Connection) -> RedisResult<Option<String>> {
    redis::cmd("GET").arg("lockstep:format").query_async(connection).await
}

/// Refuses data whose format is another one, by the text of `lockstep:format`.
pub(super) fn check_text(text: &str) -> Result<(), FormatError> {
    DataFormat::parse(text)?.check()
}

impl AdminConnection {
    /// Registers a running service, or renews its registration. A store without data gets the present
    /// format.
    ///
    /// # Errors
    ///
    /// The sentence with both formats where the data have another one, or the failure that took the place of
    /// a reply.
    pub async fn register(&mut self, service: &str) -> Result<(), StartRefusal> {
        match read(&mut self.connection).await? {
            Some(text) => check_text(&text)?,
            None if self.has_data().await? => return Err(FormatError::Unlabelled.into()),
            None => {}
        }
        if ["lockstep:migrations", "lockstep:services"].iter().any(|key| self.is_elsewhere(key)) {
            return self.register_apart(service).await;
        }
        let mut command = redis::cmd("EVAL");
        command.arg(REGISTER).arg(0).arg(DataFormat::settled(FORMAT).text());
        command.arg(service).arg(REGISTRATION_TTL.as_millis() as u64);
        for step in MigrationStep::embedded() {
            command.arg(step.name).arg(step.sha1);
        }
        let text: String = command.query_async(&mut self.connection).await?;
        Ok(check_text(&text)?)
    }

    /// Registers a service where the keys are at several masters, which no script can write together. No migration
    /// runs on such data, and only one can tell the order.
    async fn register_apart(&mut self, service: &str) -> Result<(), StartRefusal> {
        let unanswered = StartRefusal::Unanswered;
        let mut steps = redis::cmd("HSET");
        steps.arg("lockstep:migrations");
        for step in MigrationStep::embedded() {
            steps.arg(step.name).arg(step.sha1);
        }
        let own = DataFormat::settled(FORMAT).text();
        let mut set = redis::cmd("SET");
        set.arg("lockstep:format").arg(&own).arg("NX");
        if set.query_async::<Option<String>>(&mut self.connection).await?.is_some() {
            let connection = self.owner_of("lockstep:migrations").map_err(unanswered)?;
            steps.exec_async(connection).await?;
        }
        let text = read(&mut self.connection).await?.unwrap_or(own);
        check_text(&text)?;
        let mut renew = redis::cmd("EVAL");
        renew.arg(RENEW).arg(1).arg("lockstep:services");
        renew.arg(service).arg(REGISTRATION_TTL.as_millis() as u64);
        let connection = self.owner_of("lockstep:services").map_err(unanswered)?;
        Ok(renew.exec_async(connection).await?)
    }

    /// Ends the registration of a service.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn deregister(&mut self, service: &str) -> Result<(), StartRefusal> {
        let mut command = redis::cmd("ZREM");
        command.arg("lockstep:services").arg(service);
        let connection = self.owner_of("lockstep:services").map_err(StartRefusal::Unanswered)?;
        Ok(command.exec_async(connection).await?)
    }

    /// The text of `lockstep:format`, where there is one.
    pub(super) async fn format_text(&mut self) -> RedisResult<Option<String>> {
        read(&mut self.connection).await
    }

    /// True if the store has a record of any space among the first keys of a scan, a million of each server. It
    /// returns keys in no order, so records of ours that are more than a few stand among them.
    pub(super) async fn has_data(&mut self) -> RedisResult<bool> {
        for (connection, _) in self.servers() {
            let mut cursor = 0;
            for _ in 0..MAX_LOOKS {
                let (next, keys) =
                    scan_page(connection, cursor, "lockstep:{*", KEYS_OF_A_LOOK).await?;
                if !keys.is_empty() {
                    return Ok(true);
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(false)
    }
}

/// One page of a scan through the keys that match `pattern`, with the cursor of the next one.
pub(super) async fn scan_page(
    connection: &mut Connection,
    cursor: u64,
    pattern: &str,
    count: usize,
) -> RedisResult<(u64, Vec<Vec<u8>>)> {
    let mut command = redis::cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
    command.query_async(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_other_format_is_refused_with_both_numbers() {
        assert_eq!(DataFormat::settled(FORMAT).check(), Ok(()));
        for (other, words) in [
            (DataFormat::settled(FORMAT - 1), ["format 1", "needs format 2"]),
            (DataFormat::settled(FORMAT + 1), ["format 3", "only format 2"]),
            (DataFormat { format: 1, migrating_to: Some(2) }, ["format 1", "to format 2"]),
        ] {
            let sentence = other.check().unwrap_err().to_string();
            assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
        }
        assert!(DataFormat::parse("nonsense").is_err());
    }

    #[test]
    fn a_format_is_read_as_it_is_written() {
        for format in [DataFormat::settled(7), DataFormat { format: 7, migrating_to: Some(9) }] {
            assert_eq!(DataFormat::parse(&format.text()), Ok(format));
        }
    }
}
