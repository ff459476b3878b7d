#![expect(clippy::panic, reason = "a script that cannot be assembled is found by the first test")]

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use include_dir::{Dir, include_dir};
use metrics::Histogram;

use super::{Error, Header};

/// The folder is the registry: a new file needs no other mention.
static FOLDER: Dir = include_dir!("$CARGO_MANIFEST_DIR/migrations-lua");

/// The line of `runner.lua` that the functions and the operations of a script take the place of.
const PLACE: &str = "--- @operations\n";

/// One operation, as Redis runs it.
pub struct Script {
    /// The operation's one name.
    pub name: &'static str,
    /// What it takes and answers.
    pub header: Header,
    /// The frame, the functions it includes, and the operation.
    pub source: String,
    /// What Redis knows the source by.
    pub sha1: String,
    durations: OnceLock<[Histogram; 3]>,
}

/// How one run of an operation ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// It happened.
    Ok,
    /// It said no.
    Refused,
    /// There is no answer, or none that makes sense.
    Failed,
}

impl<T> From<&Result<T, Error>> for Outcome {
    fn from(result: &Result<T, Error>) -> Outcome {
        match result {
            Ok(_) => Outcome::Ok,
            Err(Error::Refused(_) | Error::KeyReused | Error::TooLarge { .. }) => Outcome::Refused,
            Err(Error::Failed(_)) => Outcome::Failed,
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
    /// When a file has no header or includes a missing one; `tests/contracts.rs` sees it first.
    pub fn embedded() -> &'static Library {
        static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
            let frames = ["lib", "once"].map(Path::new);
            let folders = FOLDER.dirs().filter(|folder| !frames.contains(&folder.path()));
            let names = folders
                .flat_map(Dir::files)
                .filter_map(|file| file.path().to_str().and_then(|path| path.strip_suffix(".lua")));
            let names: Vec<_> = names.collect();
            Library(
                names
                    .iter()
                    .map(|name| (*name, Arc::new(Script::assemble(name, &names))))
                    .collect(),
            )
        });
        &LIBRARY
    }

    /// One script.
    ///
    /// # Panics
    ///
    /// When there is none of that name; `tests/contracts.rs` sees it first.
    pub fn script(&self, name: &str) -> Arc<Script> {
        let script = self.0.get(name).unwrap_or_else(|| panic!("no script {name}"));
        Arc::clone(script)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Script> {
        self.0.values().map(Arc::as_ref)
    }
}

impl Script {
    /// Counts one run by how it ended. The labels are looked up once, not for every call.
    pub(super) fn record(&self, outcome: Outcome, duration: Duration) {
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
            Outcome::Ok => ok,
            Outcome::Refused => refused,
            Outcome::Failed => failed,
        };
        histogram.record(duration);
    }

    /// `all` are the names of all operations: a script that runs operations carries the commands
    /// among them.
    fn assemble(name: &'static str, all: &[&'static str]) -> Script {
        let header = header(name);
        let mut names = vec![name];
        if header.runs_operations {
            let commands = |other: &&str| {
                let header = self::header(other);
                *other != name && !header.read_only && !header.internal && !header.alone
            };
            names.extend(all.iter().copied().filter(commands));
            names.sort_unstable();
        }
        let mut functions = Vec::new();
        names.iter().for_each(|name| include(file(name), &mut functions));
        let functions: String = functions.into_iter().map(file).collect();
        let operations: String = names.iter().map(|name| operation(name)).collect();
        let flags = if header.read_only { " flags=no-writes" } else { "" };
        let body = format!("{functions}\nlocal operations, records = {{}}, {{}}\n{operations}");
        let source = format!("#!lua{flags}\n{}", file("runner").replacen(PLACE, &body, 1));
        let sha1 = sha1_smol::Sha1::from(&source).digest().to_string();
        Script { name, header, source, sha1, durations: OnceLock::new() }
    }
}

fn header(name: &str) -> Header {
    Header::parse(file(name)).unwrap_or_else(|| panic!("{name} has no header"))
}

/// An operation as the frame knows it: what its file names, nobody else sees.
fn operation(name: &str) -> String {
    let header = header(name);
    let records = match header.runs_operations {
        true => String::new(),
        false => format!("records['{name}'] = {}\n", positions(&header)),
    };
    format!("operations['{name}'] = function(keys, args)\n{}\nend\n{records}", file(name))
}

/// Where the records of an operation stand among its keys, as `runner.lua` reads it.
fn positions(header: &Header) -> String {
    let list = |positions: &[usize]| {
        positions.iter().map(|position| format!("{position}, ")).collect::<String>()
    };
    let once = list(&header.loaded.once);
    if header.keys.each.is_empty() {
        return format!("{{ {once}}}");
    }
    format!(
        "{{ {once}once = {}, each = {{ {}}}, line = {} }}",
        header.keys.once.len(),
        list(&header.loaded.each),
        header.keys.each.len(),
    )
}

/// The files a source includes, each once and after what it includes itself.
fn include(source: &'static str, found: &mut Vec<&'static str>) {
    for line in source.lines() {
        let path = line.strip_prefix("--- @include \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(path) = path.filter(|path| !found.contains(path)) {
            include(file(path), found);
            found.push(path);
        }
    }
}

fn file(path: &str) -> &'static str {
    FOLDER
        .get_file(format!("{path}.lua"))
        .and_then(|file| file.contents_utf8())
        .unwrap_or_else(|| panic!("no migrations-lua/{path}.lua"))
}
