//! The parts that the benchmarks share: starting the processes, calling the service from many
//! connections, and measuring time and CPU.

#![allow(dead_code, reason = "each benchmark uses a part of this module")]

pub mod script;
pub mod webdis;

use script::{RawCall, RawScript, send};

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Keep-alive connections that call at the same time, where a scenario says nothing else.
pub const CONNECTIONS: usize = 64;
/// Number of times that each scenario is measured.
pub const ROUNDS: usize = 3;
/// Duration of one measurement, after its warm-up.
pub const ROUND_DURATION: Duration = Duration::from_secs(2);
/// Accounts that transfers choose from, where a scenario says nothing else.
pub const ACCOUNTS: u64 = 1000;

/// One kind of call to one service.
pub struct Scenario {
    /// Name of the scenario's row in the table.
    pub name: &'static str,
    /// Address of the service, `host:port`.
    pub address: String,
    /// Process id of the service.
    pub service_pid: u32,
    /// Beginning of every successful answer. Any other answer counts as failed.
    pub expected: &'static str,
    /// Makes the requests of one call.
    pub requests: fn(&mut Random) -> Vec<Vec<u8>>,
    /// Number of callers, each with a connection of its own.
    pub callers: usize,
}

/// The result of one round of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Successful requests per second.
    pub per_second: f64,
    /// Median latency of the successful requests, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the latency of the successful requests, in microseconds.
    pub p99_us: f64,
    /// CPU time of the service per successful request, in microseconds.
    pub service_cpu_us: f64,
    /// CPU time of Redis per successful request, in microseconds; of several servers, that of the busiest one.
    pub redis_cpu_us: f64,
    /// Number of requests that failed.
    pub failed: u64,
}

/// Returns the least value, the median and the greatest value.
pub fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

/// A linear congruential generator: the same seed gives the same numbers.
pub struct Random(pub u64);

impl Random {
    /// Returns a number from 0 up to, but not including, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Returns a POST request with a JSON body, as bytes. `headers` are whole lines.
pub fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Returns the numbers of two of so many accounts.
pub fn two_accounts(random: &mut Random, accounts: u64) -> (u64, u64) {
    let from = random.below(accounts);
    (from, (from + 1 + random.below(accounts - 1)) % accounts)
}

/// Returns the body of a transfer between two of so many accounts.
pub fn transfer_body(random: &mut Random, accounts: u64) -> String {
    let (from, to) = two_accounts(random, accounts);
    format!("{{\"from_account\":\"a{from}\",\"to_account\":\"a{to}\",\"amount\":\"0.01\"}}")
}

/// Reads one whole answer; `None` if the connection has ended.
pub async fn read_answer<'a>(stream: &mut TcpStream, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).ok()?;
        // Servers differ in the case of the first letters; a 204 has no length.
        let length = head.split("ontent-").find_map(|part| part.get(1..)?.strip_prefix("ength: "));
        let length: usize =
            length.map_or(Some(0), |rest| rest.split("\r\n").next()?.parse().ok())?;
        if buffer.len() >= end + 4 + length {
            return Some(buffer);
        }
    }
}

/// Runs a scenario for one round, after a warm-up of 0.3 s. Only requests that begin after the warm-up
/// count.
pub async fn measure(scenario: &Scenario, redis_pid: u32) -> Measurement {
    measure_shards(scenario, &[redis_pid], Duration::ZERO).await
}

/// Runs a scenario as [`measure`] does, on several Redis servers: the CPU time of Redis is that of the busiest one. Each
/// caller makes a pause after each call.
pub async fn measure_shards(
    scenario: &Scenario,
    redis_pids: &[u32],
    pause: Duration,
) -> Measurement {
    let mut tasks = JoinSet::new();
    let warmed_up = Instant::now() + Duration::from_millis(300);
    let end = warmed_up + ROUND_DURATION;
    for _ in 0..scenario.callers {
        let Scenario { name, requests, expected, .. } = *scenario;
        let address = scenario.address.clone();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut random = Random(unique());
            let mut buffer = Vec::with_capacity(4096);
            let (mut latencies, mut failed) = (Vec::with_capacity(100_000), 0_u64);
            while Instant::now() < end {
                let mut lease: Option<Vec<u8>> = None;
                for mut request in requests(&mut random) {
                    // The second request of a lock, and of a miss, has a placeholder for the lease at its end.
                    if let Some(lease) = &lease {
                        let place = request.len() - 2 - lease.len();
                        request[place..place + lease.len()].copy_from_slice(lease);
                    }
                    let started = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    let answer = read_answer(&mut stream, &mut buffer).await;
                    let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
                    if started > warmed_up && !answer.starts_with(expected.as_bytes()) {
                        failed += 1;
                    } else if started > warmed_up {
                        latencies.push(started.elapsed());
                    }
                    let text = String::from_utf8_lossy(answer);
                    lease = text
                        .split_once("\"lease_id\":\"")
                        .or_else(|| text.split_once("\"lease_token\":\""))
                        .map(|(_, rest)| rest.as_bytes()[..38].to_vec());
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            (latencies, failed)
        });
    }
    tokio::time::sleep_until(warmed_up.into()).await;
    let redis_cpu = || redis_pids.iter().map(|pid| cpu_us(*pid)).collect::<Vec<_>>();
    let (service_before, redis_before) = (cpu_us(scenario.service_pid), redis_cpu());
    let started = Instant::now();
    tokio::time::sleep_until(end.into()).await;
    let service_cpu = cpu_us(scenario.service_pid) - service_before;
    let redis_cpu = redis_cpu().into_iter().zip(redis_before).map(|(now, before)| now - before);
    let redis_cpu = redis_cpu.fold(0.0, f64::max);
    let seconds = started.elapsed().as_secs_f64();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for (of_caller, failed_of_caller) in tasks.join_all().await {
        latencies.extend(of_caller);
        failed += failed_of_caller;
    }
    latencies.sort_unstable();
    assert!(!latencies.is_empty(), "{}: all {failed} requests failed", scenario.name);
    let percentile =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let requests = latencies.len() as f64;
    Measurement {
        per_second: requests / seconds,
        p50_us: percentile(0.5),
        p99_us: percentile(0.99),
        service_cpu_us: service_cpu / requests,
        redis_cpu_us: redis_cpu / requests,
        failed,
    }
}

/// Returns a seed that no other task of this process has.
pub fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Runs the transfer script by EVALSHA without the service, with `transfers_per_script` transfers in
/// each call and 64 calls in each pipeline. Returns the CPU microseconds of Redis per transfer, and the
/// transfers per second.
pub async fn raw_script(
    connection: &mut MultiplexedConnection,
    redis_pid: u32,
    transfers_per_script: usize,
) -> (f64, f64) {
    let script = RawScript::present("accounts/transfer");
    script.load(connection).await;
    let mut random = Random(transfers_per_script as u64);
    let calls = 12_800 / transfers_per_script;
    let (before, started) = (cpu_us(redis_pid), Instant::now());
    for _ in 0..calls.div_ceil(64) {
        let scripts = (0..64.min(calls)).map(|_| {
            let transfers =
                (0..transfers_per_script).map(|_| RawCall::random(&mut random, ACCOUNTS));
            script.command(&transfers.collect::<Vec<_>>())
        });
        send(connection, scripts).await;
    }
    let transfers = (calls.div_ceil(64) * 64.min(calls) * transfers_per_script) as f64;
    ((cpu_us(redis_pid) - before) / transfers, transfers / started.elapsed().as_secs_f64())
}

/// Returns the CPU time that a process has taken so far, in microseconds, from `/proc/<pid>/task/*/schedstat`.
pub fn cpu_us(pid: u32) -> f64 {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0_u64);
    }
    nanoseconds as f64 / 1000.0
}

/// A process that is killed when this is dropped.
pub struct Process {
    pub child: Child,
    /// Address that the process printed, `host:port`; empty if it printed none.
    pub address: String,
}

impl Process {
    /// Starts a process and reads the address in the first line that it prints.
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

/// Starts a server that prints no address, and waits until it accepts connections.
pub async fn start_server(command: &mut Command, port: u16) -> Process {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    let address = format!("127.0.0.1:{port}");
    while TcpStream::connect(&address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Process { child, address }
}

/// Returns a port that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Redis in a folder of its own, and a connection to it.
pub struct Redis {
    pub process: Process,
    pub url: String,
    pub connection: MultiplexedConnection,
    folder: std::path::PathBuf,
}

impl Redis {
    /// Starts one with these arguments, and waits until it answers.
    pub async fn start(arguments: &[&str]) -> Redis {
        let port = free_port().to_string();
        let folder = std::env::temp_dir().join(format!("lockstep-bench-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--save", "", "--dir"]).arg(&folder).args(arguments);
        let process = Process::start(&mut command);
        let url = format!("redis://127.0.0.1:{port}");
        let client = redis::Client::open(url.as_str()).unwrap();
        let connection = loop {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                break connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Redis { process, url, connection, folder }
    }

    /// Returns the CPU time that it has taken so far, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        cpu_us(self.process.child.id())
    }

    /// Returns the bytes of memory that its data take, and what belongs to them.
    pub async fn memory(&mut self) -> f64 {
        self.info("memory", "used_memory").await
    }

    /// Returns the size of its append-only file in bytes.
    pub async fn append_only(&mut self) -> f64 {
        self.info("persistence", "aof_current_size").await
    }

    async fn info(&mut self, section: &str, field: &str) -> f64 {
        let mut info = redis::cmd("INFO");
        let text: String = info.arg(section).query_async(&mut self.connection).await.unwrap();
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(name, _)| *name == field).unwrap();
        value.trim().parse().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Starts a Lockstep of any version, with its default settings.
pub fn start_lockstep(program: &str, redis_url: &str) -> Process {
    let mut command = Command::new(program);
    Process::start(command.args(["--listen", "127.0.0.1:0", "--redis-url", redis_url]))
}

/// A Redis and a Lockstep that uses it, with their default settings.
pub struct Setup {
    pub redis: Redis,
    pub lockstep: Process,
}

impl Setup {
    /// Starts both, and waits until Redis answers.
    pub async fn start() -> Setup {
        let redis = Redis::start(&[]).await;
        let lockstep = start_lockstep(env!("CARGO_BIN_EXE_lockstep"), &redis.url);
        Setup { redis, lockstep }
    }
}

/// Writes all results to `target/bench/<name>.json`.
pub fn save(name: &str, results: &serde_json::Value) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(format!("{folder}/{name}.json"), results.to_string()).unwrap();
    println!("\nAll results: target/bench/{name}.json");
}
