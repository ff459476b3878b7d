//! `make bench`, third part: before and after records were packed.
//!
//! - The scripts of before, in `benches/before`, and the present ones run the same calls in turns on one
//!   server, without the service: CPU of Redis for each call, memory and append-only file for each transfer.
//! - With `BEFORE=<program>`, a `lockstep` of an older version, both services make transfers in turns, each in
//!   a database of its own on one server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use support::{
    ACCOUNTS, CONNECTIONS, Measurement, Process, Random, Redis, Scenario, measure, read_answer,
    request, save,
    script::{RawCall, RawScript, send},
    spread, start_lockstep, transfer_body,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Rounds of each comparison; every round has both versions.
const ROUNDS: usize = 5;
/// Accounts and products that calls choose from.
const RESOURCES: u64 = 200;
/// Calls of one measurement.
const CALLS: usize = 6400;
/// Transfers whose memory and append-only file are measured.
const KEPT: usize = 20_000;

/// An operation that is compared.
struct Compared {
    name: &'static str,
    operation: &'static str,
    /// The most that the ratio may be, for each number of [`STEPS`].
    aims: [&'static str; 3],
}

/// Steps in each script.
const STEPS: [usize; 3] = [1, 28, 64];

const COMPARED: [Compared; 3] = [
    Compared {
        name: "transfer",
        operation: "accounts/transfer",
        aims: ["at most 0.70", "at most 0.60", "at most 0.60"],
    },
    Compared { name: "reserve", operation: "inventory/reserve", aims: ["at most 0.70"; 3] },
    Compared { name: "token bucket", operation: "ratelimit/check", aims: ["at most 0.75"; 3] },
];

/// The scripts of one version.
struct Version {
    scripts: BTreeMap<&'static str, RawScript>,
}

impl Version {
    fn of(script: impl Fn(&'static str) -> RawScript) -> Version {
        let seeds = ["accounts/open", "inventory/add_product"];
        let compared = COMPARED.map(|compared| compared.operation);
        let operations = seeds.into_iter().chain(compared);
        Version { scripts: operations.map(|operation| (operation, script(operation))).collect() }
    }

    /// Empties the server, loads the scripts, and makes the accounts and products.
    async fn prepare(&self, redis: &mut Redis) {
        redis::cmd("FLUSHALL").exec_async(&mut redis.connection).await.unwrap();
        for script in self.scripts.values() {
            script.load(&mut redis.connection).await;
        }
        let mut random = Random(1);
        for operation in ["accounts/open", "inventory/add_product"] {
            let calls = (0..RESOURCES).map(|number| RawCall {
                from: number,
                product: number,
                ..RawCall::random(&mut random, RESOURCES)
            });
            let calls: Vec<_> = calls.collect();
            let commands = calls.chunks(20).map(|calls| self.scripts[operation].command(calls));
            send(&mut redis.connection, commands).await;
        }
    }

    /// Runs so many calls of an operation, with so many steps in each script. `second` gives the second of
    /// the n-th call.
    async fn run(
        &self,
        redis: &mut Redis,
        operation: &str,
        steps: usize,
        calls: usize,
        second: impl Fn(usize) -> u64,
    ) {
        let mut random = Random(steps as u64);
        let mut scripts = Vec::new();
        for start in (0..calls).step_by(steps) {
            let calls = (start..calls.min(start + steps)).map(|number| RawCall {
                second: second(number),
                ..RawCall::random(&mut random, RESOURCES)
            });
            scripts.push(self.scripts[operation].command(&calls.collect::<Vec<_>>()));
        }
        let mut scripts = scripts.into_iter().peekable();
        while scripts.peek().is_some() {
            send(&mut redis.connection, scripts.by_ref().take(20)).await;
        }
    }
}

/// The figures of both versions, before and now, by the name of what was measured; one pair a round.
type Pairs = BTreeMap<String, Vec<[f64; 2]>>;

#[tokio::main]
async fn main() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/before");
    let before = |operation: &'static str| {
        let path = Path::new(folder).join(operation.replace('/', "-") + ".lua");
        RawScript::before(operation, std::fs::read_to_string(path).unwrap())
    };
    let versions = [Version::of(before), Version::of(RawScript::present)];
    let cpu = compare_cpu(&versions).await;
    let space = compare_space(&versions).await;
    println!(
        "\nBefore and after, the same calls in turns on one server; median (least-greatest) of {ROUNDS} rounds\n"
    );
    println!("| scripts without Lockstep | before | now | ratio | aim |");
    println!("| --- | ---: | ---: | ---: | --- |");
    for Compared { name, operation, aims } in COMPARED {
        for (steps, aim) in STEPS.into_iter().zip(aims) {
            let pairs = &cpu[&row(operation, steps)];
            print_row(&format!("Redis CPU us of a {name}, {steps} in each script"), pairs, aim);
        }
    }
    for (name, aim) in SPACE {
        print_row(name, &space[name], aim);
    }
    let services = match std::env::var("BEFORE") {
        Ok(program) => Some(compare_services(&program).await),
        Err(_) => None,
    };
    save("before", &json!({ "redis_cpu_us": cpu, "space": space, "services": services }));
}

fn row(operation: &str, steps: usize) -> String {
    format!("{operation}, {steps}")
}

/// Prints the figures of both versions, and the ratio of each round.
fn print_row(name: &str, pairs: &[[f64; 2]], aim: &str) {
    let cell = |values: Vec<f64>, digits: usize| {
        let (low, median, high) = spread(values);
        format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
    };
    let [before, now] = [0, 1].map(|version| pairs.iter().map(|pair| pair[version]).collect());
    let ratios = pairs.iter().map(|[before, now]| now / before).collect();
    println!("| {name} | {} | {} | {} | {aim} |", cell(before, 1), cell(now, 1), cell(ratios, 2));
}

/// Returns the CPU microseconds of Redis for each call.
async fn compare_cpu(versions: &[Version; 2]) -> Pairs {
    let mut redis = Redis::start(&[]).await;
    let mut pairs = Pairs::new();
    for _ in 0..ROUNDS {
        for Compared { operation, .. } in COMPARED {
            for steps in STEPS {
                let mut pair = [0.0; 2];
                for (version, cost) in versions.iter().zip(&mut pair) {
                    version.prepare(&mut redis).await;
                    let cpu_before = redis.cpu_us();
                    version.run(&mut redis, operation, steps, CALLS, |_| 1_795_705_451).await;
                    *cost = (redis.cpu_us() - cpu_before) / CALLS as f64;
                }
                pairs.entry(row(operation, steps)).or_default().push(pair);
            }
        }
    }
    pairs
}

const MEMORY: &str = "bytes of memory of a transfer";
const FILE_ALONE: &str = "bytes of append-only file of a transfer, alone";
const FILE: &str = "bytes of append-only file of a transfer, 28 in each script";
const SPACE: [(&str, &str); 3] =
    [(MEMORY, "at most 320 now"), (FILE, "at most 650 now"), (FILE_ALONE, "at most 650 now")];

/// Returns what a transfer leaves in memory and in the append-only file, with 100 transfers a second.
async fn compare_space(versions: &[Version; 2]) -> Pairs {
    let arguments =
        ["--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];
    let mut redis = Redis::start(&arguments).await;
    let mut pairs = Pairs::new();
    for _ in 0..ROUNDS {
        for (steps, file) in [(28, FILE), (1, FILE_ALONE)] {
            let (mut memory, mut bytes) = ([0.0; 2], [0.0; 2]);
            for (index, version) in versions.iter().enumerate() {
                version.prepare(&mut redis).await;
                let before = (redis.memory().await, redis.append_only().await);
                let second = |number| 1_795_705_451 + number as u64 / 100;
                version.run(&mut redis, "accounts/transfer", steps, KEPT, second).await;
                memory[index] = (redis.memory().await - before.0) / KEPT as f64;
                bytes[index] = (redis.append_only().await - before.1) / KEPT as f64;
            }
            pairs.entry(file.to_owned()).or_default().push(bytes);
            if steps > 1 {
                pairs.entry(MEMORY.to_owned()).or_default().push(memory);
            }
        }
    }
    pairs
}

/// A figure of a measurement.
type Column = fn(&Measurement) -> f64;

/// Has an older service and the present one make transfers in turns, and prints and returns their figures.
async fn compare_services(program: &str) -> Value {
    let redis = Redis::start(&[]).await;
    let programs = [program, env!("CARGO_BIN_EXE_lockstep")];
    let services = [0, 1]
        .map(|database| start_lockstep(programs[database], &format!("{}/{database}", redis.url)));
    for service in &services {
        open_accounts(service).await;
    }
    let mut rounds: [Vec<Measurement>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (service, rounds) in services.iter().zip(&mut rounds) {
            let scenario = Scenario {
                name: "transfer",
                address: service.address.clone(),
                service_pid: service.child.id(),
                expected: "HTTP/1.1 201",
                requests: transfer,
                callers: CONNECTIONS,
            };
            let measurement = measure(&scenario, redis.process.child.id()).await;
            assert_eq!(measurement.failed, 0);
            rounds.push(measurement);
        }
    }
    println!(
        "\n| transfers through Lockstep, {CONNECTIONS} connections | before | now | ratio | aim |"
    );
    println!("| --- | ---: | ---: | ---: | --- |");
    let columns: [(_, Column, _); 4] = [
        ("transfers per second", |round| round.per_second, "at least 1.3"),
        ("service CPU us of a transfer", |round| round.service_cpu_us, "at most 1"),
        ("Redis CPU us of a transfer", |round| round.redis_cpu_us, "none"),
        ("p99 us", |round| round.p99_us, "none"),
    ];
    for (name, column, aim) in columns {
        let pairs = rounds[0].iter().zip(&rounds[1]);
        let pairs: Vec<_> = pairs.map(|(before, now)| [column(before), column(now)]).collect();
        print_row(name, &pairs, aim);
    }
    json!({ "before": rounds[0], "now": rounds[1] })
}

fn transfer(random: &mut Random) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(random, ACCOUNTS))]
}

async fn open_accounts(service: &Process) {
    let mut stream = TcpStream::connect(&service.address).await.unwrap();
    let mut buffer = Vec::new();
    for number in 0..ACCOUNTS {
        let body = format!("{{\"account_id\":\"a{number}\",\"initial_balance\":\"1000000\"}}");
        stream.write_all(&request("/accounts", "", &body)).await.unwrap();
        let answer = read_answer(&mut stream, &mut buffer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 201"));
    }
}
