//! What the benchmarks share: processes, callers, and how the cost of a call is read.

#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lockstep::store::Library;
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

pub const CONNECTIONS: usize = 64;
pub const ROUNDS: usize = 3;
pub const ROUND: Duration = Duration::from_secs(2);
pub const ACCOUNTS: u64 = 1000;

/// One of the things that are compared.
pub struct Subject {
    pub name: &'static str,
    pub address: String,
    pub service: u32,
    /// How every answer begins; another one is counted as failed.
    pub expected: &'static str,
    /// The requests of one operation, made anew each time.
    pub operation: fn(&mut Numbers) -> Vec<Vec<u8>>,
    /// How many call at a time.
    pub callers: usize,
}

/// What one round of one subject gave.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub service_cpu_us: f64,
    pub redis_cpu_us: f64,
    pub failed: u64,
}

/// Least, median, most.
pub fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

/// A row of numbers that looks random.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

pub fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn transfer_body(numbers: &mut Numbers, accounts: u64) -> String {
    let from = numbers.below(accounts);
    let to = (from + 1 + numbers.below(accounts - 1)) % accounts;
    format!("{{\"from_account\":\"a{from}\",\"to_account\":\"a{to}\",\"amount\":\"0.01\"}}")
}

/// Reads one answer, whole.
pub async fn answer<'a>(stream: &mut TcpStream, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).ok()?;
        let length: usize =
            head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
        if buffer.len() >= end + 4 + length {
            return Some(buffer);
        }
    }
}

pub async fn measure(subject: &Subject, redis: u32) -> Figures {
    let mut tasks = JoinSet::new();
    let warm = Instant::now() + Duration::from_millis(300);
    let end = warm + ROUND;
    for _ in 0..subject.callers {
        let Subject { operation, expected, .. } = *subject;
        let address = subject.address.clone();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut numbers = Numbers(unique());
            let mut buffer = Vec::with_capacity(4096);
            let (mut took, mut failed) = (Vec::with_capacity(100_000), 0_u64);
            while Instant::now() < end {
                let mut lease: Option<Vec<u8>> = None;
                for mut request in operation(&mut numbers) {
                    if let Some(lease) = &lease {
                        let place = request.len() - 2 - lease.len();
                        request[place..place + lease.len()].copy_from_slice(lease);
                    }
                    let started = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    let answer = answer(&mut stream, &mut buffer).await.unwrap();
                    if started > warm && !answer.starts_with(expected.as_bytes()) {
                        failed += 1;
                    } else if started > warm {
                        took.push(started.elapsed());
                    }
                    let text = String::from_utf8_lossy(answer);
                    lease = text
                        .split("\"lease_id\":\"")
                        .nth(1)
                        .map(|rest| rest.as_bytes()[..38].to_vec());
                }
            }
            (took, failed)
        });
    }
    tokio::time::sleep_until(warm.into()).await;
    let before = (cpu_us(subject.service), cpu_us(redis), Instant::now());
    tokio::time::sleep_until(end.into()).await;
    let after = (cpu_us(subject.service), cpu_us(redis), before.2.elapsed().as_secs_f64());
    let (mut took, mut failed) = (Vec::new(), 0);
    for (times, bad) in tasks.join_all().await {
        took.extend(times);
        failed += bad;
    }
    took.sort_unstable();
    assert!(!took.is_empty(), "{}: {failed} calls, and none went well", subject.name);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let calls = took.len() as f64;
    Figures {
        per_second: calls / after.2,
        p50_us: at(0.5),
        p99_us: at(0.99),
        service_cpu_us: (after.0 - before.0) / calls,
        redis_cpu_us: (after.1 - before.1) / calls,
        failed,
    }
}

/// Another number for every task that ever asks.
pub fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The transfer script itself, many calls in the pipe, `steps` transfers in each: CPU of Redis per
/// transfer, and transfers a second.
pub async fn raw_script(
    connection: &mut MultiplexedConnection,
    redis: u32,
    steps: usize,
) -> (f64, f64) {
    let script = Library::embedded().script("accounts/transfer");
    let _: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(&script.source).query_async(connection).await.unwrap();
    let mut numbers = Numbers(steps as u64);
    let calls = 12_800 / steps;
    let (before, started) = (cpu_us(redis), Instant::now());
    for _ in 0..calls.div_ceil(64) {
        let mut pipe = redis::pipe();
        for _ in 0..64.min(calls) {
            let (mut keys, mut args) = (Vec::new(), Vec::new());
            for _ in 0..steps {
                let from = numbers.below(ACCOUNTS);
                let to = (from + 1 + numbers.below(ACCOUNTS - 1)) % ACCOUNTS;
                for kind in ["account", "postings"] {
                    for id in [from, to] {
                        keys.push(format!("lockstep:{{main}}:{kind}:a{id}"));
                    }
                }
                keys.push(format!("lockstep:{{main}}:account_holds:a{from}"));
                keys.push(format!("lockstep:{{main}}:transaction:tx_{from}_{to}"));
                args.extend(["accounts/transfer", "6", "7", ""].map(str::to_owned));
                args.extend([format!("a{from}"), format!("a{to}")]);
                args.extend(
                    ["1", "2", "null", "{}", "tx_0199f6c28f7a7c319d4e52a1b7f0c6aa"]
                        .map(str::to_owned),
                );
            }
            pipe.cmd("EVALSHA").arg(&script.sha1).arg(keys.len()).arg(keys);
            pipe.arg(0).arg(1000).arg(60_000).arg(10_000).arg(args);
        }
        let _: Vec<redis::Value> = pipe.query_async(connection).await.unwrap();
    }
    let transfers = (calls.div_ceil(64) * 64.min(calls) * steps) as f64;
    ((cpu_us(redis) - before) / transfers, transfers / started.elapsed().as_secs_f64())
}

/// User and system time of a process so far, from the scheduler's own count.
pub fn cpu_us(pid: u32) -> f64 {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0_u64);
    }
    nanoseconds as f64 / 1000.0
}

/// A process that ends with the benchmark, and where it said that it listens.
pub struct Process {
    pub child: Child,
    pub address: String,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child =
            command.stdout(Stdio::piped()).spawn().expect("make bench installs redis-server");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([' ', '\n']).next());
        let address = address.unwrap_or_default().to_owned();
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Process { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Redis and the service on it, as their users start them.
pub struct Setup {
    pub redis: Process,
    pub redis_url: String,
    pub lockstep: Process,
    pub connection: MultiplexedConnection,
}

impl Setup {
    pub async fn start() -> Setup {
        let redis_port = free_port().to_string();
        let mut command = Command::new("redis-server");
        let redis = Process::start(command.args(["--port", &redis_port, "--save", ""]));
        let redis_url = format!("redis://127.0.0.1:{redis_port}");
        let client = redis::Client::open(redis_url.as_str()).unwrap();
        let connection = loop {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                break connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        let arguments = ["--listen", "127.0.0.1:0", "--redis-url", &redis_url];
        let lockstep = Process::start(command.args(arguments));
        Setup { redis, redis_url, lockstep, connection }
    }
}

/// Writes what was measured where others can read it.
pub fn save(name: &str, figures: &serde_json::Value) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(format!("{folder}/{name}.json"), figures.to_string()).unwrap();
    println!("\nAll figures: target/bench/{name}.json");
}
