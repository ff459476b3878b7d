//! `make bench`, second part: many transfers at once.
//!
//! - A stream of a million transfers: how fast it is, how much memory it takes, and how it compares
//!   with single calls and with the script without the service.
//! - Transfers between the same two accounts by up to 256 callers: by `/accounts/transfer`, within
//!   `/atomic`, and by `/transactions` with WATCH.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, time::Instant};

use axum::body::Body;
use http_body_util::{BodyExt, channel::Channel};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use support::{
    ACCOUNTS, CONNECTIONS, Measurement, Process, ROUND_DURATION, ROUNDS, Random, Scenario, Setup,
    cpu_us, measure, raw_script, request, save, spread, transfer_body,
};

/// Transfers of the long stream.
const LONG: u64 = 1_000_000;
/// Transfers of a short stream.
const SHORT: u64 = 100_000;

/// Numbers of callers that contend for the same two accounts.
const CALLERS: [usize; 4] = [1, 8, 64, 256];

const SINGLE: &str = "single calls, 64 connections";
const STREAM: &str = "one stream through /bulk";
const SCRIPT: &str = "the script without Lockstep, 128 transfers in each, pipelined";

/// Makes the requests of one call.
type Requests = fn(&mut Random) -> Vec<Vec<u8>>;

/// The ways to transfer between the same two accounts: name, beginning of a successful answer, and the
/// requests.
const CONTENDED: [(&str, &str, Requests); 3] = [
    ("one script, /accounts/transfer", "HTTP/1.1 201", contended_transfer),
    ("/atomic, with a counter beside it", "HTTP/1.1 200", contended_atomic),
    ("WATCH, /transactions", "HTTP/1.1 200", contended_watch),
];

#[tokio::main]
async fn main() {
    let Setup { mut redis, lockstep } = Setup::start().await;
    let redis_pid = redis.process.child.id();
    let (per_second, memory_mib) = long_stream(&lockstep).await;
    let (rates, costs) = compare_streams(&lockstep, redis_pid, &mut redis.connection).await;
    print_streams(&rates, &costs);
    let contention = contend(&lockstep, redis_pid, &mut redis.connection).await;
    let stream = json!({
        "per_second": per_second, "memory_mib": memory_mib, "rates": rates, "redis_cpu_us": costs,
    });
    save("together", &json!({ "stream": stream, "contention": contention }));
}

/// Opens the accounts and sends the long stream, after a short one as a warm-up. Returns the transfers
/// per second, and by how many MiB the memory of the service has grown.
async fn long_stream(lockstep: &Process) -> (f64, f64) {
    let memory_before = memory_kib(lockstep);
    let opening = (0..ACCOUNTS).map(|number| {
        let input = json!({ "account_id": format!("a{number}"), "initial_balance": "1000000" });
        json!({ "operation": "accounts/open", "input": input }).to_string()
    });
    assert_eq!(send_stream(lockstep, opening).await, ACCOUNTS);
    assert_eq!(send_stream(lockstep, transfers(SHORT)).await, SHORT);
    let started = Instant::now();
    assert_eq!(send_stream(lockstep, transfers(LONG)).await, LONG);
    let per_second = LONG as f64 / started.elapsed().as_secs_f64();
    let memory_mib = memory_kib(lockstep).saturating_sub(memory_before) as f64 / 1024.0;
    let sum = sum_of_balances(lockstep).await;
    println!("\n| one stream of {LONG} transfers | |\n| --- | ---: |");
    println!("| transfers per second | {per_second:.0} |");
    println!("| growth of the service's memory, MiB (aim: below 64) | {memory_mib:.1} |");
    println!("| sum of all balances afterwards | {sum} |");
    (per_second, memory_mib)
}

/// Values of each round, by the name of what was measured.
type Rounds = BTreeMap<&'static str, Vec<f64>>;

/// Compares single calls, a stream, and the script without the service. Returns the transfers per
/// second, and the CPU microseconds of Redis per transfer.
async fn compare_streams(
    lockstep: &Process,
    redis_pid: u32,
    connection: &mut MultiplexedConnection,
) -> (Rounds, Rounds) {
    let single = Scenario {
        name: SINGLE,
        address: lockstep.address.clone(),
        service_pid: lockstep.child.id(),
        expected: "HTTP/1.1 201",
        requests: transfer,
        callers: CONNECTIONS,
    };
    let (mut rates, mut costs) = (Rounds::new(), Rounds::new());
    for _ in 0..ROUNDS {
        let measurement = measure(&single, redis_pid).await;
        rates.entry(SINGLE).or_default().push(measurement.per_second);
        costs.entry(SINGLE).or_default().push(measurement.redis_cpu_us);
        let (cpu_before, started) = (cpu_us(redis_pid), Instant::now());
        assert_eq!(send_stream(lockstep, transfers(SHORT)).await, SHORT);
        rates.entry(STREAM).or_default().push(SHORT as f64 / started.elapsed().as_secs_f64());
        costs.entry(STREAM).or_default().push((cpu_us(redis_pid) - cpu_before) / SHORT as f64);
        let (cost, rate) = raw_script(connection, redis_pid, 128).await;
        rates.entry(SCRIPT).or_default().push(rate);
        costs.entry(SCRIPT).or_default().push(cost);
    }
    (rates, costs)
}

fn print_streams(rates: &Rounds, costs: &Rounds) {
    println!(
        "\n| transfers among {ACCOUNTS} accounts | per second | Redis CPU us/transfer |\n| --- | ---: | ---: |"
    );
    for name in [SINGLE, STREAM, SCRIPT] {
        let (low, median, high) = spread(rates[name].clone());
        let (low_cost, cost, high_cost) = spread(costs[name].clone());
        println!(
            "| {name} | {median:.0} ({low:.0}-{high:.0}) | {cost:.1} ({low_cost:.1}-{high_cost:.1}) |"
        );
    }
    println!(
        "\n| ratio of transfers per second | median (least-greatest) | aim |\n| --- | ---: | --- |"
    );
    for (other, aim) in [(SINGLE, "at least 3"), (SCRIPT, "at most 1: Redis can do no more")] {
        let pairs = rates[STREAM].iter().zip(&rates[other]);
        let (low, median, high) = spread(pairs.map(|(one, other)| one / other).collect());
        println!("| {STREAM} to {other} | {median:.2} ({low:.2}-{high:.2}) | {aim} |");
    }
}

/// Measures transfers between two accounts by 1 to 256 callers, in three ways, and returns the rows that
/// `plot.py` draws.
async fn contend(
    lockstep: &Process,
    redis_pid: u32,
    connection: &mut MultiplexedConnection,
) -> Value {
    for key in ["x", "y"] {
        let key = format!("lockstep-data:{{main}}:{key}");
        let _: () = connection.set(key, 1_000_000_000_i64).await.unwrap();
    }
    let mut results: BTreeMap<(&str, usize), Vec<Measurement>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for callers in CALLERS {
            for (name, expected, requests) in CONTENDED {
                let scenario = Scenario {
                    name,
                    address: lockstep.address.clone(),
                    service_pid: lockstep.child.id(),
                    expected,
                    requests,
                    callers,
                };
                let measurement = measure(&scenario, redis_pid).await;
                results.entry((name, callers)).or_default().push(measurement);
            }
        }
    }
    println!(
        "\n| transfers between the same two accounts | callers | per second | p50 us | p99 us | refused |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let mut rows = Vec::new();
    for (name, ..) in CONTENDED {
        for callers in CALLERS {
            rows.push(contended_row(name, callers, &results[&(name, callers)]));
        }
    }
    Value::Array(rows)
}

/// Prints and returns one row of the table of contended transfers.
fn contended_row(name: &str, callers: usize, rounds: &[Measurement]) -> Value {
    let column =
        |value: fn(&Measurement) -> f64| spread(rounds.iter().map(value).collect::<Vec<f64>>());
    let per_second = column(|round| round.per_second);
    let (_, p50, _) = column(|round| round.p50_us);
    let (_, p99, _) = column(|round| round.p99_us);
    let (_, refused, _) = column(|round| {
        let succeeded = round.per_second * ROUND_DURATION.as_secs_f64();
        round.failed as f64 / (succeeded + round.failed as f64)
    });
    let (low, median, high) = per_second;
    println!(
        "| {name} | {callers} | {median:.0} ({low:.0}-{high:.0}) | {p50:.0} | {p99:.0} | {:.0} % |",
        refused * 100.0
    );
    json!({
        "way": name, "callers": callers, "per_second": per_second, "p50_us": p50, "p99_us": p99,
        "given_up": refused,
    })
}

fn transfer(random: &mut Random) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(random, ACCOUNTS))]
}

fn contended_transfer(random: &mut Random) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(random, 2))]
}

fn contended_atomic(random: &mut Random) -> Vec<Vec<u8>> {
    let body = format!(
        "{{\"operations\":[{{\"operation\":\"accounts/transfer\",\"input\":{}}},\
         {{\"operation\":\"counters/increment\",\"input\":{{\"counter\":\"transfers\"}}}}]}}",
        transfer_body(random, 2)
    );
    vec![request("/atomic", "", &body)]
}

fn contended_watch(random: &mut Random) -> Vec<Vec<u8>> {
    let (from, to) = if random.below(2) == 0 { ("x", "y") } else { ("y", "x") };
    let body = format!(
        "{{\"watch\":[\"{from}\",\"{to}\"],\"guards\":[{{\"key\":\"{from}\",\"op\":\"gte\",\"value\":\"1\"}}],\
         \"operations\":[{{\"type\":\"decr\",\"key\":\"{from}\",\"by\":1}},\
         {{\"type\":\"incr\",\"key\":\"{to}\",\"by\":1}}],\"max_attempts\":10}}"
    );
    vec![request("/transactions", "", &body)]
}

/// Returns the lines of so many transfers, each made when it is sent.
fn transfers(count: u64) -> impl Iterator<Item = String> + Send + 'static {
    let mut random = Random(count);
    (0..count).map(move |_| {
        let input = transfer_body(&mut random, ACCOUNTS);
        format!("{{\"operation\":\"accounts/transfer\",\"input\":{input}}}")
    })
}

/// Sends a stream of lines while it reads the results, and returns how many have the status 201.
async fn send_stream(
    lockstep: &Process,
    lines: impl Iterator<Item = String> + Send + 'static,
) -> u64 {
    let (mut sender, body) = Channel::<Bytes>::new(4);
    tokio::spawn(async move {
        let mut part = String::new();
        for line in lines {
            part += &line;
            part.push('\n');
            if part.len() > 32_000 {
                let full = std::mem::replace(&mut part, String::with_capacity(33_000));
                sender.send_data(full.into()).await.unwrap();
            }
        }
        sender.send_data(part.into()).await.unwrap();
    });
    let request = Request::post(format!("http://{}/bulk", lockstep.address))
        .header("content-type", "application/x-ndjson")
        .body(Body::new(body))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut results = client.request(request).await.unwrap().into_body();
    let mut rest: Vec<u8> = Vec::new();
    let mut created = 0;
    while let Some(frame) = results.frame().await {
        rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in rest[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let head = std::str::from_utf8(&line[..40.min(line.len())]).unwrap_or_default();
            if head.contains("\"status\":201") {
                created += 1;
            } else {
                println!("{}", String::from_utf8_lossy(line));
            }
        }
        rest.drain(..end);
    }
    created
}

/// Returns the resident memory of a process in KiB.
fn memory_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns the sum of all balances, after the service has found that the books are balanced.
async fn sum_of_balances(lockstep: &Process) -> String {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/accounts/integrity", lockstep.address));
    let answer = client.request(request.body(Body::empty()).unwrap()).await.unwrap();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let integrity: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity}");
    integrity["currencies"][0]["sum"].as_str().unwrap().to_owned()
}
