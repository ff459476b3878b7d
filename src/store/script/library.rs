//! The library: every script, assembled once a process, with the histograms of its runs. The store looks
//! scripts up by the name of their operation.

#![expect(clippy::panic, reason = "a script that is missing is found by the first test")]

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, LazyLock, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use include_dir::Dir;
use metrics::Histogram;

use super::{
    Header,
    assemble::{FOLDER, USER_SCRIPT, assemble, assemble_guarded, assemble_user, read_header},
};
use crate::{store::Error, telemetry::DurationHistogram};

/// One operation, as Redis runs it.
pub struct Script {
    /// The name of the operation, such as `accounts/transfer`.
    pub name: &'static str,
    /// Its keys, arguments and replies.
    pub header: Header,
    /// The runner, the shared functions that it includes, and the operation.
    pub source: String,
    /// The SHA-1 of the source, by which Redis knows it.
    pub sha1: String,
    /// The source of a caller's own that it runs, if it is no operation of ours.
    chunk: Option<String>,
    durations: OnceLock<[Histogram; 3]>,
    /// The same durations for `GET /monitoring/scripts`, of all outcomes.
    run_durations: Mutex<DurationHistogram>,
    loads: AtomicU64,
    /// The same operation with [`GUARD`], once a call has guards.
    guarded: OnceLock<Arc<Script>>,
}

/// The operation that checks guards and then runs another one. It stands in a script beside that, so that
/// calls without guards pay nothing for it.
pub(in crate::store) const GUARD: &str = "locks/guard";

/// The outcome of one run, a label of its metric.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum RunOutcome {
    /// The operation replied `ok`.
    Ok,
    /// The operation refused.
    Refused,
    /// There is no reply, or one that the header does not know.
    Failed,
}

impl<T> From<&Result<T, Error>> for RunOutcome {
    fn from(result: &Result<T, Error>) -> RunOutcome {
        match result {
            Ok(_) => RunOutcome::Ok,
            Err(Error::Refused(_) | Error::KeyReused | Error::TooLarge { .. }) => {
                RunOutcome::Refused
            }
            Err(Error::Failed(_)) => RunOutcome::Failed,
        }
    }
}

/// Every script, by name: `accounts/transfer` for `migrations-lua/accounts/transfer.lua`.
pub struct Library(HashMap<&'static str, Arc<Script>>);

impl Library {
    /// The scripts that were compiled in.
    ///
    /// # Panics
    ///
    /// Panics where a file has no header or includes a missing one. `tests/contracts.rs` finds it first.
    pub fn embedded() -> &'static Library {
        static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
            let not_operations = ["lib", "once"].map(Path::new);
            let folders = FOLDER.dirs().filter(|folder| !not_operations.contains(&folder.path()));
            let names = folders
                .flat_map(Dir::files)
                .filter_map(|file| file.path().to_str().and_then(|path| path.strip_suffix(".lua")));
            let names: Vec<_> = names.collect();
            let script = |name: &&'static str| (*name, Arc::new(Script::assemble(name, &names)));
            Library(names.iter().map(script).collect())
        });
        &LIBRARY
    }

    /// The script of an operation.
    ///
    /// # Panics
    ///
    /// Panics where there is none of that name. `tests/contracts.rs` finds it first.
    pub fn script(&self, name: &str) -> Arc<Script> {
        let script = self.0.get(name).unwrap_or_else(|| panic!("there is no script {name}"));
        Arc::clone(script)
    }

    /// All scripts, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Script> {
        self.0.values().map(Arc::as_ref)
    }
}

impl Script {
    fn assemble(name: &'static str, all: &[&str]) -> Script {
        let header = read_header(name);
        let source = assemble(name, &header, all);
        Script::with_source(name, header, source)
    }

    fn with_source(name: &'static str, header: Header, source: String) -> Script {
        let sha1 = sha1_smol::Sha1::from(&source).digest().to_string();
        Script {
            name,
            header,
            source,
            sha1,
            chunk: None,
            durations: OnceLock::new(),
            run_durations: Mutex::default(),
            loads: AtomicU64::new(0),
            guarded: OnceLock::new(),
        }
    }

    /// The script that runs a caller's own source, which is a chunk that compiles by itself. The server
    /// refuses one that is `read_only` every write.
    pub(in crate::store) fn of_user(chunk: &str, read_only: bool) -> Script {
        let header = Header { read_only, ..read_header(USER_SCRIPT) };
        let source = assemble_user(chunk, &header, false);
        let script = Script::with_source(USER_SCRIPT, header, source);
        Script { chunk: Some(chunk.to_owned()), ..script }
    }

    /// The command that runs the script, by its SHA-1 or with `send_source` by its source. A caller's own
    /// that reads only is run by the command that no server takes for a write.
    pub(in crate::store) fn command(&self, send_source: bool) -> &'static str {
        match (self.chunk.is_some() && self.header.read_only, send_source) {
            (false, false) => "EVALSHA",
            (false, true) => "EVAL",
            (true, false) => "EVALSHA_RO",
            (true, true) => "EVAL_RO",
        }
    }

    /// The script that runs the operation as this step of the runner: by itself, or behind guards.
    pub(in crate::store) fn host_of(self: &Arc<Script>, step: &str) -> Arc<Script> {
        if step != GUARD || self.header.runs_operations {
            return Arc::clone(self);
        }
        let guarded = self.guarded.get_or_init(|| {
            let read_only = self.header.read_only;
            let header = Header { read_only, ..read_header(self.name) };
            let source = match &self.chunk {
                Some(chunk) => assemble_user(chunk, &header, true),
                None => assemble_guarded(self.name, &header),
            };
            let chunk = self.chunk.clone();
            Arc::new(Script { chunk, ..Script::with_source(self.name, header, source) })
        });
        Arc::clone(guarded)
    }

    /// Counts that the source is sent, because the server does not know its SHA-1.
    pub(in crate::store) fn count_load(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("lockstep_script_loads_total", "operation" => self.name).increment(1);
    }

    /// Records the duration of one run. The labels are looked up once a script, not for every run.
    pub(in crate::store) fn record(&self, outcome: RunOutcome, duration: Duration) {
        let histogram = |outcome: &'static str| {
            metrics::histogram!(
                "lockstep_operation_duration_seconds",
                "operation" => self.name,
                "outcome" => outcome,
            )
        };
        let [ok, refused, failed] =
            self.durations.get_or_init(|| ["ok", "refused", "failed"].map(histogram));
        let histogram = match outcome {
            RunOutcome::Ok => ok,
            RunOutcome::Refused => refused,
            RunOutcome::Failed => failed,
        };
        histogram.record(duration);
        self.run_durations.lock().unwrap_or_else(PoisonError::into_inner).record(duration);
    }

    /// The durations of all runs by this process, and how often the source was sent.
    pub(in crate::store) fn runs(&self) -> (DurationHistogram, u64) {
        let durations = self.run_durations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (durations, self.loads.load(Ordering::Relaxed))
    }
}
