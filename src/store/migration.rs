//! Migrations: the steps of `migrations-lua/once`, each of which changes stored records from one format to
//! the next. `lockstep migrate` runs them while no service uses the data.
//!
//! A step runs in pieces of a few hundred keys, so that Redis is never blocked for long. Each piece is one
//! script that first looks whether the step is still the present one; so neither a second `lockstep migrate`
//! nor a piece that arrives late does harm. A migration that was interrupted starts its step from the first
//! key again, and steps leave a key alone that they have changed already.

#![expect(clippy::panic, reason = "a step without a header is found by the first test")]

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use redis::RedisError;

use super::{
    AdminConnection, Failure, FormatError,
    admin::read_failure,
    format::{DataFormat, scan_page},
};

static FOLDER: Dir = include_dir!("$CARGO_MANIFEST_DIR/migrations-lua/once");

/// The most keys of one piece, where a step does not say.
const DEFAULT_BATCH: usize = 200;

/// The code of a piece that finds another format than the one it belongs to.
const STALE: &str = "STALE";

/// The lines before the source of a step. ARGV: the format at which the step may run, and the keys of the
/// piece. They are not in KEYS, because in a cluster of one node their slots differ.
const PIECE: &str = "#!lua flags=allow-cross-slot-keys
if redis.call('GET', 'lockstep:format') ~= ARGV[1] then
  return redis.error_reply('STALE the format is another one')
end
local keys = { unpack(ARGV, 2) }
";

/// Replaces the format if it is still the expected one and no service is running, and records the step that
/// has ended. Returns the services that are running, or STALE.
/// ARGV: the expected format (empty for none), the new one, and the step's name and SHA-1 where one has ended.
const SET_FORMAT: &str = "#!lua flags=allow-cross-slot-keys
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local services = redis.call('ZRANGEBYSCORE', 'lockstep:services', '(' .. now, '+inf')
if #services > 0 then
  return services
end
if (redis.call('GET', 'lockstep:format') or '') ~= ARGV[1] then
  return redis.error_reply('STALE the format is another one')
end
if ARGV[3] then
  redis.call('HSET', 'lockstep:migrations', ARGV[3], ARGV[4])
end
redis.call('SET', 'lockstep:format', ARGV[2])
return {}
";

/// One step from a format to the next.
#[derive(Debug, Clone)]
pub struct MigrationStep {
    /// The name of its file without `.lua`, such as `0002-packed`.
    pub name: String,
    /// The format that it leads to: the number at the start of its name.
    pub number: u64,
    /// The SHA-1 of its source, by which a change of a step that has run is noticed.
    pub sha1: String,
    source: String,
    /// The pattern of the keys that it changes. A step without one changes nothing.
    pattern: Option<String>,
    batch: usize,
}

/// The result of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrated {
    /// There are no data.
    Empty,
    /// The data have this format already.
    Unchanged(u64),
    /// The data have been migrated.
    Changed {
        /// The format before.
        from: u64,
        /// The format now.
        to: u64,
    },
}

/// The reason why a migration did not run, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// The data have a format that the steps do not lead to.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A step has another text than when it ran.
    #[error(
        "the step {0} has another text than when it ran on these data: use the version whose step ran"
    )]
    StepChanged(String),
    /// A step has run that is not among these.
    #[error(
        "the step {0} has run on these data and this version does not have it: use the version that has it"
    )]
    StepUnknown(String),
    /// Services are running on the data.
    #[error(
        "{} running on the data: stop every service, or wait 30 seconds if one was killed",
        if .0.len() == 1 { format!("the service {} is", .0[0]) } else { format!("the services {} are", .0.join(", ")) }
    )]
    ServicesRunning(Vec<String>),
    /// The format changed while the migration ran.
    #[error("another lockstep migrate has changed the format meanwhile: run it again")]
    Stale,
    /// A piece of a step failed.
    #[error(
        "the step {step} failed: {cause}; the data stay locked for services until lockstep migrate has run to its end"
    )]
    StepFailed {
        /// The name of the step.
        step: String,
        /// The error of the server.
        cause: String,
    },
    /// The data are those of a cluster.
    #[error(
        "the data are on several masters of a cluster, which no migration can change yet: use the version that wrote them"
    )]
    SeveralMasters,
    /// The steps are not numbered 1, 2, 3 and so on.
    #[error("the steps are not numbered one after the other from 1 on")]
    Misnumbered,
    /// The server did not answer.
    #[error("{0}; run lockstep migrate again")]
    Failed(Failure),
}

impl From<RedisError> for MigrationError {
    fn from(error: RedisError) -> MigrationError {
        match error.code() {
            Some(STALE) => MigrationError::Stale,
            _ => MigrationError::Failed(read_failure(&error)),
        }
    }
}

impl MigrationStep {
    /// The steps that were compiled in, by their numbers.
    ///
    /// # Panics
    ///
    /// Where a file is no step. The first test of this module finds it.
    pub fn embedded() -> Vec<MigrationStep> {
        let steps = FOLDER.files().map(|file| {
            let name = file.path().file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let source = file.contents_utf8().unwrap_or_default();
            MigrationStep::parse(name, source)
                .unwrap_or_else(|fault| panic!("migrations-lua/once/{name}.lua: {fault}"))
        });
        let mut steps: Vec<_> = steps.collect();
        steps.sort_by_key(|step| step.number);
        steps
    }

    /// Reads a step: a comment as its header, with a sentence and the lines `KEYS pattern` and
    /// `BATCH count`, and then what it does with the keys in `keys`.
    ///
    /// # Errors
    ///
    /// A sentence, where the name has no number, or a line of the header is not understood.
    pub fn parse(name: &str, source: &str) -> Result<MigrationStep, String> {
        let number = name.split_once('-').and_then(|(number, _)| number.parse().ok());
        let number =
            number.filter(|number| *number > 0).ok_or("a name is a number, - and words")?;
        let comment = source.strip_prefix("--[[").and_then(|rest| rest.split_once("]]"));
        let (comment, _) = comment.ok_or("the file does not begin with a comment --[[ ... ]]")?;
        let (mut pattern, mut batch) = (None, DEFAULT_BATCH);
        for line in comment.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["KEYS", text] => pattern = Some(text.to_owned()),
                ["BATCH", count] => {
                    let count = count.parse().ok().filter(|count| (1..=5000).contains(count));
                    batch = count.ok_or("BATCH is a number from 1 to 5000")?;
                }
                ["KEYS" | "BATCH", ..] => return Err(format!("{line:?} is not understood")),
                _ => {}
            }
        }
        let sha1 = sha1_smol::Sha1::from(source).digest().to_string();
        let source = format!("{PIECE}{source}");
        Ok(MigrationStep { name: name.to_owned(), number, sha1, source, pattern, batch })
    }
}

impl AdminConnection {
    /// Runs every step that the data have not been through, to the format of the last one. `progress` is
    /// called after each piece with the step and the number of keys that it has been given so far.
    ///
    /// Interrupted at any moment, it is resumed by the next call; no service starts in between.
    ///
    /// # Errors
    ///
    /// The sentence that says why it did not run, or not to its end.
    pub async fn migrate(
        &mut self,
        steps: &[MigrationStep],
        mut progress: impl FnMut(&MigrationStep, u64),
    ) -> Result<Migrated, MigrationError> {
        let numbers = steps.iter().map(|step| step.number);
        let to = steps.len() as u64;
        if to == 0 || !numbers.eq(1..=to) {
            return Err(MigrationError::Misnumbered);
        }
        let text = self.format_text().await?;
        let DataFormat { format: from, migrating_to } = match &text {
            Some(text) => DataFormat::parse(text)?,
            None if self.has_data().await? => return Err(FormatError::Unlabelled.into()),
            None => return Ok(Migrated::Empty),
        };
        let newest = from.max(migrating_to.unwrap_or(from));
        if newest > to {
            return Err(FormatError::Newer { found: newest, own: to }.into());
        }
        if from < to && !self.others.is_empty() {
            return Err(MigrationError::SeveralMasters);
        }
        self.check_recorded(steps).await?;
        let mut text = text.unwrap_or_default();
        for step in steps.iter().filter(|step| step.number > from) {
            let running = DataFormat { format: step.number - 1, migrating_to: Some(to) }.text();
            self.set_format(&text, &running, None).await?;
            self.run_step(step, &running, &mut progress).await?;
            let migrating_to = Some(to).filter(|to| step.number < *to);
            text = DataFormat { format: step.number, migrating_to }.text();
            // Recorded at its end: a step that fails may be mended, one that has run may not.
            self.set_format(&running, &text, Some(step)).await?;
        }
        Ok(if from == to { Migrated::Unchanged(to) } else { Migrated::Changed { from, to } })
    }

    /// Refuses steps that are not those that have run.
    async fn check_recorded(&mut self, steps: &[MigrationStep]) -> Result<(), MigrationError> {
        let mut command = redis::cmd("HGETALL");
        command.arg("lockstep:migrations");
        let connection = self.owner_of("lockstep:migrations").map_err(MigrationError::Failed)?;
        let recorded: BTreeMap<String, String> = command.query_async(connection).await?;
        for (name, sha1) in recorded {
            match steps.iter().find(|step| step.name == name) {
                None => return Err(MigrationError::StepUnknown(name)),
                Some(step) if step.sha1 != sha1 => return Err(MigrationError::StepChanged(name)),
                Some(_) => {}
            }
        }
        Ok(())
    }

    async fn set_format(
        &mut self,
        expected: &str,
        text: &str,
        ended: Option<&MigrationStep>,
    ) -> Result<(), MigrationError> {
        let mut command = redis::cmd("EVAL");
        command.arg(SET_FORMAT).arg(0).arg(expected).arg(text);
        if let Some(step) = ended {
            command.arg(&step.name).arg(&step.sha1);
        }
        let services: Vec<String> = command.query_async(&mut self.connection).await?;
        match services.is_empty() {
            true => Ok(()),
            false => Err(MigrationError::ServicesRunning(services)),
        }
    }

    /// Runs a step on all of its keys. A scan returns every key that exists from its start to its end, and
    /// some more than once.
    async fn run_step(
        &mut self,
        step: &MigrationStep,
        format: &str,
        progress: &mut impl FnMut(&MigrationStep, u64),
    ) -> Result<(), MigrationError> {
        let Some(pattern) = &step.pattern else { return Ok(()) };
        let (mut cursor, mut count) = (0, 0);
        loop {
            // Most keys may be those of others, and Redis looks at a thousand of them in no time.
            let page = step.batch.max(1000);
            let (next, keys) = scan_page(&mut self.connection, cursor, pattern, page).await?;
            for piece in keys.chunks(step.batch) {
                let mut command = redis::cmd("EVAL");
                command.arg(&step.source).arg(0).arg(format).arg(piece);
                let reply = command.exec_async(&mut self.connection).await;
                reply.map_err(|error| match error.code() {
                    Some("ERR") => MigrationError::StepFailed {
                        step: step.name.clone(),
                        cause: error.detail().unwrap_or_default().to_owned(),
                    },
                    _ => error.into(),
                })?;
                count += piece.len() as u64;
                progress(step, count);
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FORMAT;

    #[test]
    fn the_steps_lead_from_the_first_format_to_the_present_one() {
        let steps = MigrationStep::embedded();
        assert!(steps.iter().map(|step| step.number).eq(1..=FORMAT));
        assert_eq!(steps[0].name, "0001-first");
    }

    #[test]
    fn a_header_gives_the_pattern_and_the_size_of_a_piece() {
        let step = MigrationStep::parse(
            "0002-second",
            "--[[\nChanges it.\n\nKEYS lockstep:{*}:account:*\nBATCH 7\n]]\nreturn 1",
        );
        let step = step.unwrap();
        assert_eq!((step.number, step.batch), (2, 7));
        assert_eq!(step.pattern.as_deref(), Some("lockstep:{*}:account:*"));
    }

    #[test]
    fn a_step_that_is_not_understood_is_refused() {
        for (name, source) in [
            ("second", "--[[\nX.\n]]"),
            ("0000-none", "--[[\nX.\n]]"),
            ("0002-second", "return 1"),
            ("0002-second", "--[[\nX.\nBATCH 0\n]]"),
            ("0002-second", "--[[\nX.\nKEYS a b\n]]"),
        ] {
            assert!(MigrationStep::parse(name, source).is_err(), "{name} {source}");
        }
    }
}
