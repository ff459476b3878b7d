//! `make mutants`: changes the scripts one place at a time and expects that a test fails. It is no part of the
//! suite, because every mutant takes seconds to minutes.

mod lua;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use lua::{Mutant, mutants};

use crate::support::Server;

/// The longest that all tests may take without a mutant.
const MOST_WITHOUT_MUTANT: Duration = Duration::from_secs(3600);

/// Tests that are about no script or start many programs, and this one.
const SKIPPED: [&str; 18] = [
    "mutants::",
    "embedded::",
    "connections::",
    "configuration::",
    "format::",
    "rights::",
    "openapi::",
    "validation::",
    "an_embedded_server_",
    "access_log::",
    "data_directory::",
    "descriptors::",
    "http::",
    "logs::",
    "start::",
    "tls::",
    "traces::",
    "unanswered::",
];

/// The domains, whose tests have names that begin with theirs.
const DOMAINS: [&str; 11] = [
    "accounts",
    "batch",
    "cache",
    "counters",
    "inventory",
    "keys",
    "locks",
    "monitoring",
    "ratelimit",
    "scripts",
    "transactions",
];

/// A setting of this test from its environment variable.
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or(default.to_owned())
}

/// Samples the mutants of all scripts and runs the tests against each of them, those of its operation first.
/// `SAMPLE` says how many, `SEED` which, and `ONLY` has beginnings of paths, separated by commas. As many are tried at
/// a time as there are processors.
#[test]
#[ignore = "make mutants runs it"]
fn tests_find_changes_of_scripts() {
    let sample: usize = setting("SAMPLE", "200").parse().unwrap();
    let seed: u64 = setting("SEED", "1").parse().unwrap();
    let only = setting("ONLY", "");
    let scripts = Scripts::read();
    let equivalent = equivalent();
    let mut mutants = scripts.mutants(only.split(','));
    let all = mutants.len();
    mutants.retain(|mutant| !equivalent.contains_key(&diff(mutant)));
    println!("{} mutants, and {} that are equivalent", mutants.len(), all - mutants.len());
    println!("a sample of {sample} with seed {seed}");
    fastrand::Rng::with_seed(seed).shuffle(&mut mutants);
    mutants.truncate(sample);
    let workers = thread::available_parallelism().unwrap().get();
    let stage_timeout = 3 * time_without_mutant(&scripts, workers);

    let tried = mutants.len();
    let (queue, survivors) = (Mutex::new(mutants.into_iter()), Mutex::new(Vec::new()));
    let work = |worker: usize| {
        let bench = Workbench::new(&scripts, worker, stage_timeout);
        let next = || queue.lock().unwrap().next();
        while let Some(mutant) = next() {
            let place = format!("{}:{}", mutant.path, mutant.line);
            let diff = diff(&mutant);
            match bench.try_mutant(&scripts, &mutant) {
                Some(by) => println!("caught    {place} by {by}"),
                None => {
                    println!("SURVIVED  {place}\n{diff}");
                    survivors.lock().unwrap().push(diff);
                }
            }
        }
    };
    thread::scope(|scope| {
        for worker in 0..workers {
            let work = &work;
            scope.spawn(move || work(worker));
        }
    });
    let survivors = survivors.into_inner().unwrap();
    println!("{} caught, {} survived", tried - survivors.len(), survivors.len());
    for survivor in &survivors {
        println!("\n{survivor}");
    }
    assert!(survivors.is_empty(), "{} mutants survived", survivors.len());
}

/// A mutant as it stands in `equivalent.txt`.
fn diff(mutant: &Mutant) -> String {
    format!("{}\n- {}\n+ {}", mutant.path, mutant.before, mutant.after)
}

/// The mutants that no test can find, each with the reason.
fn equivalent() -> BTreeMap<String, String> {
    let entries = include_str!("equivalent.txt").split("\n\n").skip(1);
    let entry = |text: &str| {
        let (diff, reason) = text.trim().split_once("\n= ").unwrap_or_else(|| panic!("{text}"));
        (diff.to_owned(), reason.replace('\n', " "))
    };
    entries.map(entry).collect()
}

/// An entry whose line has changed says nothing any more.
#[test]
fn every_equivalent_mutant_is_one_of_the_scripts() {
    let all: BTreeSet<String> = Scripts::read().all_mutants().iter().map(diff).collect();
    for (diff, reason) in equivalent() {
        assert!(all.contains(&diff), "there is no such mutant any more:\n{diff}");
        assert!(reason.len() > 20 && reason.ends_with('.'), "{reason}");
    }
}

/// All files of `migrations-lua` but the steps of migrations, by their paths.
struct Scripts(BTreeMap<String, String>);

impl Scripts {
    fn read() -> Scripts {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations-lua");
        let mut files = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() && name != "once" {
                    folders.push(path);
                } else if name.ends_with(".lua") {
                    files.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        Scripts(files)
    }

    fn all_mutants(&self) -> Vec<Mutant> {
        self.0.iter().flat_map(|(path, source)| mutants(path, source)).collect()
    }

    /// The mutants that are Lua, of files whose path begins with one of these.
    fn mutants<'a>(&self, only: impl Iterator<Item = &'a str> + Clone) -> Vec<Mutant> {
        let mut mutants = self.all_mutants();
        mutants.retain(|mutant| only.clone().any(|start| mutant.path.starts_with(start)));
        let server = Server::start(&[]);
        let mut connection = server.connection();
        mutants.retain(|mutant| {
            let mut command = redis::cmd("EVAL");
            command.arg("return loadstring(ARGV[1]) and 1 or 0").arg(0).arg(&mutant.source);
            command.query::<bool>(&mut connection).unwrap()
        });
        mutants
    }

    /// The operations whose scripts have a file.
    fn users(&self, path: &str) -> Vec<&str> {
        let is_operation = |path: &&String| path.contains('/') && !path.starts_with("lib/");
        let operations = self.0.keys().filter(is_operation);
        operations.filter(|operation| self.includes(operation, path)).map(String::as_str).collect()
    }

    fn includes(&self, file: &str, path: &str) -> bool {
        let included = self.0[file].lines().filter_map(|line| {
            line.strip_prefix("--- @include \"").and_then(|rest| rest.strip_suffix('"'))
        });
        file == path
            || included.map(|name| format!("{name}.lua")).any(|file| self.includes(&file, path))
    }

    /// The tests for a file, in stages: the likeliest first, and in the end all but those of other domains.
    fn stages(&self, path: &str) -> Vec<Stage> {
        let users = self.users(path);
        let domains: BTreeSet<&str> =
            users.iter().filter_map(|user| user.split('/').next()).collect();
        let own: Vec<String> = match path {
            "runner.lua" | "commit.lua" => {
                ["runner::", "torn_commits::", "idempotency::"].map(str::to_owned).into()
            }
            _ if users.len() <= 3 => {
                users.iter().map(|user| user.replace('/', "::").replace(".lua", "::")).collect()
            }
            _ => domains.iter().map(|domain| format!("{domain}::")).collect(),
        };
        let mut of_domains: Vec<String> =
            domains.iter().map(|domain| format!("{domain}::")).collect();
        let models = [("accounts", "ledger_model::"), ("inventory", "stock_model::")];
        for (_, model) in models.into_iter().filter(|(domain, _)| domains.contains(domain)) {
            of_domains.extend([model, "damage::"].map(str::to_owned));
        }
        // The tests of `lockstep show` read every record by code of their own, and each command is counted.
        let all_domains =
            ["runner::", "wrong_types::", "idempotency::", "show::", "redis_commands::"];
        of_domains.extend(all_domains.map(str::to_owned));
        let others = DOMAINS.into_iter().filter(|domain| !domains.contains(domain));
        let others: Vec<_> = others.map(|domain| format!("{domain}::")).collect();
        vec![
            Stage { parts: own.clone(), skipped: Vec::new() },
            Stage { parts: of_domains.clone(), skipped: own.clone() },
            Stage { parts: Vec::new(), skipped: [own, of_domains, others].concat() },
        ]
    }
}

/// Tests that are run together.
#[derive(Default)]
struct Stage {
    /// The parts of the names of tests, one of which each has; empty for all tests.
    parts: Vec<String>,
    /// The parts that no test has, because it has been run before or is about something else.
    skipped: Vec<String>,
}

/// A folder with the test program and the scripts that it reads.
struct Workbench {
    folder: PathBuf,
    /// The longest that the tests of one stage may take. A mutant that takes longer is caught: it loops, or it makes
    /// the service wait.
    stage_timeout: Duration,
}

/// Returns how long all tests take without a mutant, and panics unless they pass. All workers run them, because a test
/// that fails where others run beside it would count as one that catches a mutant.
fn time_without_mutant(scripts: &Scripts, workers: usize) -> Duration {
    let started = Instant::now();
    let run = |worker: usize| {
        let bench = Workbench::new(scripts, worker, MOST_WITHOUT_MUTANT);
        if let Some(failed) = bench.run(&Stage::default()) {
            panic!("without a mutant, {failed} has failed");
        }
    };
    thread::scope(|scope| {
        for worker in 0..workers {
            let run = &run;
            scope.spawn(move || run(worker));
        }
    });
    println!("without a mutant, all tests pass in {} s", started.elapsed().as_secs());
    started.elapsed()
}

impl Workbench {
    fn new(scripts: &Scripts, worker: usize, stage_timeout: Duration) -> Workbench {
        let name = format!("lockstep-mutants-{}-{worker}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let bench = Workbench { folder, stage_timeout };
        for name in ["scripts", "tmp"] {
            fs::create_dir_all(bench.folder.join(name)).unwrap();
        }
        // A copy, because a build meanwhile would replace it.
        fs::copy(std::env::current_exe().unwrap(), bench.program()).unwrap();
        for (path, source) in &scripts.0 {
            bench.write(path, source);
        }
        bench
    }

    fn program(&self) -> PathBuf {
        self.folder.join("service")
    }

    fn write(&self, path: &str, source: &str) {
        let file = self.folder.join("scripts").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, source).unwrap();
    }

    /// Runs the tests against a mutant, and returns the one that has failed first.
    fn try_mutant(&self, scripts: &Scripts, mutant: &Mutant) -> Option<String> {
        self.write(&mutant.path, &mutant.source);
        let caught = scripts.stages(&mutant.path).iter().find_map(|stage| self.run(stage));
        self.write(&mutant.path, &scripts.0[&mutant.path]);
        caught
    }

    /// Runs the tests of a stage, and stops at the first that fails.
    fn run(&self, stage: &Stage) -> Option<String> {
        let mut command = Command::new(self.program());
        command.args(&stage.parts);
        for skipped in SKIPPED.into_iter().chain(stage.skipped.iter().map(String::as_str)) {
            command.args(["--skip", skipped]);
        }
        let program = command
            .env("LOCKSTEP_SCRIPTS", self.folder.join("scripts"))
            .env("TMPDIR", self.folder.join("tmp"))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        first_failure(program, self.stage_timeout)
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the name of the first test that fails within the limit, and ends the program then. Its servers end with it.
fn first_failure(mut program: Child, limit: Duration) -> Option<String> {
    let output = BufReader::new(program.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + limit;
    let failure = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(name) = line.strip_suffix(" ... FAILED") {
                    break Some(name.trim_start_matches("test ").to_owned());
                }
            }
            Err(RecvTimeoutError::Timeout) => break Some("the timeout".to_owned()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = program.wait().unwrap();
                break (!status.success()).then(|| format!("its end, {status}"));
            }
        }
    };
    let _ = program.kill();
    let _ = program.wait();
    failure
}
