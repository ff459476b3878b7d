//! Runs every program of `examples/` against a service, and compares what it prints.
//!
//! A language that is not installed is skipped, and a line on standard error says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use process::Service;

/// What the worker prints when the limit is reached, whatever the number of seconds.
const WAITING: &str = "waiting # s";
/// The time after which the limit of the worker has room again.
const REFILL: Duration = Duration::from_secs(2);

/// What each example prints, in every language.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "cache",
        &[
            "20 callers: alice has 20.00, computed 1 time",
            "after the transfer: alice has 15.00",
            "the slow reader: cache_lease_lost",
            "everybody else: alice has 15.00",
        ],
    ),
    (
        "checkout",
        &[
            "order-1: no result yet, sending it again",
            "order-1: paid 7.90, 12.10 left, by an earlier attempt",
        ],
    ),
    (
        "lock",
        &[
            "worker-7: wrote part 1",
            "worker-8: wrote part 2",
            "worker-7: lost the lock",
            "worker-7: write refused, the lease is over",
            "worker-8: released the lock",
        ],
    ),
    (
        "reservation",
        &["carol: bought 2", "dave: payment failed, gave 1 back", "erin: wanted 2, 1 available"],
    ),
    ("worker", &["job 1 done", "job 2 done", WAITING, "job 3 done"]),
];

#[test]
fn curl() {
    run_language("curl", "sh", &["bash", "curl"]);
}

#[test]
fn python() {
    run_language("python", "py", &["python3"]);
}

#[test]
fn typescript() {
    run_language("typescript", "ts", &["node"]);
}

/// Runs the examples of one folder side by side; the first of the programs is the one that runs them.
fn run_language(folder: &str, extension: &str, programs: &[&str]) {
    let missing =
        programs.iter().find(|name| Command::new(name).arg("--version").output().is_err());
    if let Some(missing) = missing {
        // Unlike eprintln!, this is shown where the test passes, too.
        let _ = writeln!(std::io::stderr(), "skipped: examples/{folder} needs {missing}");
        return;
    }
    let file = |name: &str| format!("examples/{folder}/{name}.{extension}");
    let there = fs::read_dir(format!("examples/{folder}")).unwrap();
    let there: BTreeSet<_> =
        there.map(|entry| entry.unwrap().path().display().to_string()).collect();
    assert_eq!(there, EXAMPLES.iter().map(|(name, _)| file(name)).collect());

    let service = Service::start(folder);
    let proxy = lose_the_first_order(&service.url);
    let run = |name: &str, url: &str| {
        let mut command = Command::new(programs[0]);
        command.arg(file(name)).env("LOCKSTEP_URL", url).stdin(Stdio::null()).output().unwrap()
    };
    let check = |name: &str, expected: &[&str]| {
        let start = Instant::now();
        let output = run(name, &proxy);
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
        let printed = lines(&output);
        // Where the machine takes longer than the limit, there is nothing left to wait for.
        let no_wait = start.elapsed() >= REFILL && !printed.iter().any(|line| line == WAITING);
        let expected: Vec<_> =
            expected.iter().filter(|line| !no_wait || **line != WAITING).collect();
        assert!(expected == printed.iter().collect::<Vec<_>>(), "{name}: {printed:#?}");
    };
    thread::scope(|scope| {
        for (name, expected) in EXAMPLES {
            scope.spawn(|| check(name, expected));
        }
    });
    // Where nobody listens, an example fails instead of pretending.
    let nobody =
        format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for (name, _) in EXAMPLES {
        let output = run(name, &nobody);
        assert!(!output.status.success() && !output.stderr.is_empty(), "{name}: {output:?}");
    }
}

fn lines(output: &Output) -> Vec<String> {
    let is_seconds = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mask =
        |line: &str| match line.strip_prefix("waiting ").and_then(|rest| rest.strip_suffix(" s")) {
            Some(seconds) if is_seconds(seconds) => WAITING.to_owned(),
            _ => line.to_owned(),
        };
    String::from_utf8_lossy(&output.stdout).lines().map(mask).collect()
}

/// The address of a proxy in front of `url` that drops the first answer to `POST /atomic` of the checkout: the order
/// has gone through, and its sender sees a connection that breaks off.
fn lose_the_first_order(url: &str) -> String {
    let address = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let is_first = Arc::new(AtomicBool::new(true));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(service) = TcpStream::connect(&address) else { return };
            forward(client, service, Arc::clone(&is_first));
        }
    });
    proxy
}

/// Copies both ways until one side closes.
fn forward(mut client: TcpStream, mut service: TcpStream, is_first: Arc<AtomicBool>) {
    let (mut to_client, mut to_service) =
        (client.try_clone().unwrap(), service.try_clone().unwrap());
    let drops = Arc::new(AtomicBool::new(false));
    let answer_drops = Arc::clone(&drops);
    thread::spawn(move || {
        copy(&mut client, &mut to_service, |request| {
            let request = String::from_utf8_lossy(request).to_lowercase();
            let is_order =
                request.starts_with("post /atomic ") && request.contains("idempotency-key: order-");
            drops.fetch_or(is_order && is_first.swap(false, Ordering::SeqCst), Ordering::SeqCst);
            true
        });
    });
    thread::spawn(move || {
        copy(&mut service, &mut to_client, |_| !answer_drops.load(Ordering::SeqCst));
    });
}

/// Copies what comes while `passes` says so, then closes both.
fn copy(from: &mut TcpStream, to: &mut TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !passes(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
