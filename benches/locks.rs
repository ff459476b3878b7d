//! Locks: what an uncontended lock costs, how fast one contended lock goes from hand to hand, and what ten
//! thousand waiters need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use support::{Process, ROUNDS, cpu_us, free_port, read_answer, request, save, spread};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

/// The duration of one measurement.
const ROUND: Duration = Duration::from_secs(3);

/// The figures that [`contended`] returns. A waiter costs one script when it comes, and a handover those of the release and of the
/// try that acquires; the heartbeats are among them too.
const FIGURES: [&str; 5] = [
    "handovers a second",
    "wake-up p50, us",
    "wake-up p99, us",
    "scripts a handover, without the one with which a waiter comes",
    "CPU of Redis a handover, with that one, us",
];

#[tokio::main]
async fn main() {
    let port = free_port().to_string();
    let mut command = Command::new("redis-server");
    let redis = Process::start(command.args(["--port", &port, "--save", ""]));
    let url = format!("redis://127.0.0.1:{port}");
    let client = redis::Client::open(url.as_str()).unwrap();
    while client.get_multiplexed_async_connection().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        let arguments =
            ["--listen", "127.0.0.1:0", "--redis-url", &url, "--max-connections", "20000"];
        Process::start(command.args(arguments))
    };
    let service = start();
    let pids = [service.child.id(), redis.child.id()];

    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(alone(&service.address).await);
    }
    println!("all figures: median (least-most) of {ROUNDS} rounds");
    let mut results = json!({});
    let mut acquire = 0.0;
    for (name, of) in [("acquire", 0), ("release", 1), ("acquire and release", 2)] {
        let (least, median, most) = spread(rounds.iter().map(|round| round[of]).collect());
        println!("uncontended {name}: {median:.0} ({least:.0}-{most:.0}) us");
        results[name] = json!(median);
        acquire = if of == 0 { median } else { acquire };
    }

    for waiters in [64, 1000] {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            rounds.push(contended(&service.address, waiters, round, pids, &client).await);
        }
        println!("{waiters} waiters:");
        for (of, name) in FIGURES.iter().enumerate() {
            let (least, median, most) = spread(rounds.iter().map(|round| round[of]).collect());
            println!("  {name}: {median:.1} ({least:.1}-{most:.1})");
            results[format!("{waiters} waiters")][*name] = json!(median);
        }
        let wake_up = spread(rounds.iter().map(|round| round[1]).collect()).1;
        println!("  the median wake-up is {:.1} times an uncontended acquire", wake_up / acquire);
    }
    drop(service);

    let service = start();
    let mib = memory_of_waiters(&service, pids[1], 10_000).await;
    results["waiters_10000_mib"] = json!(mib);
    save("locks", &results);
}

/// Connects, and sends without delay.
async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request, and returns the answer as text.
async fn call(stream: &mut TcpStream, path: &str, body: &str) -> String {
    stream.write_all(&request(path, "", body)).await.unwrap();
    let mut buffer = Vec::with_capacity(2048);
    String::from_utf8_lossy(read_answer(stream, &mut buffer).await.unwrap()).into_owned()
}

/// The `lease_id` of an answer.
fn lease_of(answer: &str) -> Option<&str> {
    answer.split("\"lease_id\":\"").nth(1)?.split('"').next()
}

/// One caller that acquires and releases locks that nobody else wants. Returns the median duration of each, and of
/// both together, in microseconds.
async fn alone(address: &str) -> [f64; 3] {
    let mut stream = connect(address).await;
    let (mut acquires, mut releases, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let end = Instant::now() + ROUND;
    let mut number = 0;
    while Instant::now() < end {
        number = (number + 1) % 1000;
        let started = Instant::now();
        let body = format!("{{\"lock\":\"alone{number}\",\"owner\":\"w\",\"ttl_ms\":60000}}");
        let answer = call(&mut stream, "/locks", &body).await;
        acquires.push(started.elapsed().as_secs_f64() * 1e6);
        let lease = lease_of(&answer).unwrap_or_else(|| panic!("{answer}"));
        let body = format!("{{\"lock\":\"alone{number}\",\"lease_id\":\"{lease}\"}}");
        let started = Instant::now();
        call(&mut stream, "/locks/release", &body).await;
        releases.push(started.elapsed().as_secs_f64() * 1e6);
        both.push(acquires[acquires.len() - 1] + releases[releases.len() - 1]);
    }
    [acquires, releases, both].map(|durations| spread(durations).1)
}

/// Callers that all want one lock, each again and again. Returns [`FIGURES`]; a wake-up is the time from the moment at
/// which a holder sends its release to the moment at which the next one has its lease.
async fn contended(
    address: &str,
    waiters: usize,
    round: usize,
    pids: [u32; 2],
    client: &redis::Client,
) -> [f64; 5] {
    let started = Instant::now();
    let released_at = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let warmed_up = Duration::from_secs(1);
    for _ in 0..waiters {
        let (address, released_at) = (address.to_owned(), Arc::clone(&released_at));
        tasks.spawn(async move {
            let mut stream = connect(&address).await;
            let mut latencies = Vec::new();
            let since = || started.elapsed().as_micros() as u64;
            while started.elapsed() < warmed_up + ROUND {
                let body = format!(
                    "{{\"lock\":\"hot{waiters}-{round}\",\"owner\":\"w\",\"ttl_ms\":60000,\"wait_ms\":25000}}"
                );
                let answer = call(&mut stream, "/locks", &body).await;
                let Some(lease) = lease_of(&answer) else { panic!("{answer}") };
                let before = released_at.load(Ordering::SeqCst);
                if before > warmed_up.as_micros() as u64 && started.elapsed() < warmed_up + ROUND {
                    latencies.push((since() - before) as f64);
                }
                let body = format!("{{\"lock\":\"hot{waiters}-{round}\",\"lease_id\":\"{lease}\"}}");
                released_at.store(since(), Ordering::SeqCst);
                call(&mut stream, "/locks/release", &body).await;
            }
            latencies
        });
    }
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    tokio::time::sleep_until((started + warmed_up).into()).await;
    let (cpu, scripts) = (cpu_us(pids[1]), scripts(&mut connection).await);
    tokio::time::sleep_until((started + warmed_up + ROUND).into()).await;
    let cpu = cpu_us(pids[1]) - cpu;
    let scripts = self::scripts(&mut connection).await - scripts;
    let mut latencies: Vec<f64> = tasks.join_all().await.into_iter().flatten().collect();
    latencies.sort_by(f64::total_cmp);
    let handovers = latencies.len() as f64;
    let percentile = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    [
        handovers / ROUND.as_secs_f64(),
        percentile(0.5),
        percentile(0.99),
        scripts / handovers - 1.0,
        cpu / handovers,
    ]
}

/// The number of scripts that Redis has run.
async fn scripts(connection: &mut redis::aio::MultiplexedConnection) -> f64 {
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
    let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok());
    calls.unwrap_or_default()
}

/// The resident memory of a process in MiB.
fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Lets so many callers wait for one lock, and returns the memory of the service with all of them, in MiB.
async fn memory_of_waiters(service: &Process, redis_pid: u32, count: usize) -> f64 {
    let pid = service.child.id();
    let mut holder = connect(&service.address).await;
    let body = "{\"lock\":\"crowd\",\"owner\":\"w\",\"ttl_ms\":60000}";
    let answer = call(&mut holder, "/locks", body).await;
    let lease = lease_of(&answer).unwrap().to_owned();
    let empty = resident_mib(pid);
    let mut waiters = Vec::new();
    let body = "{\"lock\":\"crowd\",\"owner\":\"w\",\"ttl_ms\":60000,\"wait_ms\":25000}";
    for _ in 0..count {
        let mut stream = connect(&service.address).await;
        stream.write_all(&request("/locks", "", body)).await.unwrap();
        waiters.push(stream);
    }
    let queue_length = async || {
        let mut stream = connect(&service.address).await;
        stream.write_all(b"GET /locks/crowd HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut buffer = Vec::new();
        let answer = String::from_utf8_lossy(read_answer(&mut stream, &mut buffer).await.unwrap())
            .into_owned();
        let length = answer
            .split("\"queue_length\":")
            .nth(1)
            .and_then(|rest| rest.split([',', '}']).next()?.parse().ok());
        length.unwrap_or(0_usize)
    };
    while queue_length().await < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let full = resident_mib(pid);
    let (cpu, redis_cpu) = (cpu_us(pid), cpu_us(redis_pid));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (cpu, redis_cpu) = (cpu_us(pid) - cpu, cpu_us(redis_pid) - redis_cpu);
    let connections = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    println!(
        "{count} waiters: {full:.0} MiB of the service, {empty:.0} without them; {connections} descriptors; \
         in a second of waiting {cpu:.0} us of the service and {redis_cpu:.0} us of Redis"
    );
    let started = Instant::now();
    call(
        &mut holder,
        "/locks/release",
        &format!("{{\"lock\":\"crowd\",\"lease_id\":\"{lease}\"}}"),
    )
    .await;
    let mut buffer = Vec::new();
    let answer = String::from_utf8_lossy(read_answer(&mut waiters[0], &mut buffer).await.unwrap())
        .into_owned();
    assert!(lease_of(&answer).is_some(), "{answer}");
    println!(
        "the first of {count} got the lock {:.0} us after the release",
        started.elapsed().as_secs_f64() * 1e6
    );
    full
}
