//! `make bench`, the second part: several at once. A million transfers in one stream, beside single
//! calls and beside the script on its own; and transfers for which many contend, by one script, by
//! WATCH, and as a part of something larger.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, time::Instant};

use axum::body::Body;
use http_body_util::{BodyExt, channel::Channel};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use redis::AsyncCommands;
use serde_json::{Value, json};
use support::{
    ACCOUNTS, CONNECTIONS, Figures, Numbers, Process, ROUND, ROUNDS, Setup, Subject, cpu_us,
    measure, raw_script, request, save, spread, transfer_body,
};

/// How many transfers the long stream has, and a short one.
const LONG: u64 = 1_000_000;
const SHORT: u64 = 100_000;

/// Makes the requests of one operation.
type Calls = fn(&mut Numbers) -> Vec<Vec<u8>>;

/// How many contend.
const CALLERS: [usize; 4] = [1, 8, 64, 256];

#[tokio::main]
async fn main() {
    let Setup { redis, redis_url: _redis_url, lockstep, mut connection } = Setup::start().await;
    let redis = redis.child.id();
    let memory = memory_kib(&lockstep);
    let opening = (0..ACCOUNTS).map(|number| {
        let input = json!({ "account_id": format!("a{number}"), "initial_balance": "1000000" });
        json!({ "operation": "accounts/open", "input": input }).to_string()
    });
    assert_eq!(stream(&lockstep, opening).await, ACCOUNTS);

    // Warm, for the speed.
    assert_eq!(stream(&lockstep, transfers(SHORT)).await, SHORT);
    let started = Instant::now();
    assert_eq!(stream(&lockstep, transfers(LONG)).await, LONG);
    let long = LONG as f64 / started.elapsed().as_secs_f64();
    let grown = memory_kib(&lockstep).saturating_sub(memory) as f64 / 1024.0;
    let sum = balanced(&lockstep).await;
    println!("\n| one stream of {LONG} transfers | |\n| --- | ---: |");
    println!("| transfers a second | {long:.0} |");
    println!(
        "| memory of the service has grown since its start by, MiB (aim: below 64) | {grown:.1} |"
    );
    println!("| sum of all balances after it | {sum} |");

    let single = Subject {
        name: "single calls",
        address: lockstep.address.clone(),
        service: lockstep.child.id(),
        expected: "HTTP/1.1 201",
        operation: transfer,
        callers: CONNECTIONS,
    };
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut costs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let calls = measure(&single, redis).await;
        rates.entry(SINGLE).or_default().push(calls.per_second);
        costs.entry(SINGLE).or_default().push(calls.redis_cpu_us);
        let (before, started) = (cpu_us(redis), Instant::now());
        assert_eq!(stream(&lockstep, transfers(SHORT)).await, SHORT);
        rates.entry(STREAM).or_default().push(SHORT as f64 / started.elapsed().as_secs_f64());
        costs.entry(STREAM).or_default().push((cpu_us(redis) - before) / SHORT as f64);
        let (cost, rate) = raw_script(&mut connection, redis, 128).await;
        rates.entry(RAW).or_default().push(rate);
        costs.entry(RAW).or_default().push(cost);
    }
    report_stream(&rates, &costs);
    let contention = contend(&lockstep, redis, &mut connection).await;
    save(
        "together",
        &json!({
            "stream": { "per_second": long, "memory_mib": grown, "rates": rates, "redis_cpu_us": costs },
            "contention": contention,
        }),
    );
}

const SINGLE: &str = "single calls, 64 connections";
const STREAM: &str = "one stream through /bulk";
const RAW: &str = "the script on its own, 128 in each, pipelined";

fn report_stream(rates: &BTreeMap<&str, Vec<f64>>, costs: &BTreeMap<&str, Vec<f64>>) {
    println!("\n| transfers over {ACCOUNTS} accounts | a second | Redis CPU us each |");
    println!("| --- | ---: | ---: |");
    for name in [SINGLE, STREAM, RAW] {
        let (low, middle, high) = spread(rates[name].clone());
        let cost = spread(costs[name].clone());
        println!(
            "| {name} | {middle:.0} ({low:.0}-{high:.0}) | {:.1} ({:.1}-{:.1}) |",
            cost.1, cost.0, cost.2
        );
    }
    let ratio = |one: &str, other: &str| {
        let pairs = rates[one].iter().zip(&rates[other]);
        spread(pairs.map(|(one, other)| one / other).collect())
    };
    for (other, aim) in [(SINGLE, "at least 3"), (RAW, "1 would be all that Redis can do")] {
        let (low, middle, high) = ratio(STREAM, other);
        println!("| the stream to {other} | {middle:.2} ({low:.2}-{high:.2}) | {aim} |");
    }
}

/// Everybody moves money between the same two, in both directions.
async fn contend(
    lockstep: &Process,
    redis: u32,
    connection: &mut redis::aio::MultiplexedConnection,
) -> Value {
    for side in ["x", "y"] {
        let _: () = connection
            .set(format!("lockstep-data:{{main}}:{side}"), 1_000_000_000_i64)
            .await
            .unwrap();
    }
    let ways: [(&str, &str, Calls); 3] = [
        ("one script, /accounts/transfer", "HTTP/1.1 201", contended_transfer),
        ("/atomic, with a counter beside it", "HTTP/1.1 200", contended_atomic),
        ("WATCH, /transactions", "HTTP/1.1 200", contended_watch),
    ];
    let mut figures: BTreeMap<(&str, usize), Vec<Figures>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for callers in CALLERS {
            for (name, expected, operation) in ways {
                let subject = Subject {
                    name,
                    address: lockstep.address.clone(),
                    service: lockstep.child.id(),
                    expected,
                    operation,
                    callers,
                };
                let measured = measure(&subject, redis).await;
                figures.entry((name, callers)).or_default().push(measured);
            }
        }
    }
    println!(
        "\n| transfers between the same two accounts | callers | a second | p50 us | p99 us | given up |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let mut table = Vec::new();
    for (name, ..) in ways {
        for callers in CALLERS {
            let rounds = &figures[&(name, callers)];
            let of = |figure: fn(&Figures) -> f64| spread(rounds.iter().map(figure).collect());
            let rate = of(|it| it.per_second);
            let (p50, p99) = (of(|it| it.p50_us).1, of(|it| it.p99_us).1);
            let share = |it: &Figures| {
                let calls = it.per_second * ROUND.as_secs_f64() + it.failed as f64;
                it.failed as f64 / calls
            };
            let given_up = of(share).1;
            println!(
                "| {name} | {callers} | {:.0} ({:.0}-{:.0}) | {p50:.0} | {p99:.0} | {:.0} % |",
                rate.1,
                rate.0,
                rate.2,
                given_up * 100.0
            );
            table.push(json!({
                "way": name, "callers": callers, "per_second": rate, "p50_us": p50, "p99_us": p99,
                "given_up": given_up,
            }));
        }
    }
    Value::Array(table)
}

fn transfer(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(numbers, ACCOUNTS))]
}

fn contended_transfer(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    vec![request("/accounts/transfer", "", &transfer_body(numbers, 2))]
}

fn contended_atomic(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let body = format!(
        "{{\"operations\":[{{\"operation\":\"accounts/transfer\",\"input\":{}}},\
         {{\"operation\":\"counters/increment\",\"input\":{{\"counter\":\"transfers\"}}}}]}}",
        transfer_body(numbers, 2)
    );
    vec![request("/atomic", "", &body)]
}

fn contended_watch(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let (from, to) = if numbers.below(2) == 0 { ("x", "y") } else { ("y", "x") };
    let body = format!(
        "{{\"watch\":[\"{from}\",\"{to}\"],\"guards\":[{{\"key\":\"{from}\",\"op\":\"gte\",\"value\":\"1\"}}],\
         \"operations\":[{{\"type\":\"decr\",\"key\":\"{from}\",\"by\":1}},\
         {{\"type\":\"incr\",\"key\":\"{to}\",\"by\":1}}],\"max_attempts\":10}}"
    );
    vec![request("/transactions", "", &body)]
}

/// The lines of so many transfers, made as they are sent.
fn transfers(count: u64) -> impl Iterator<Item = String> + Send + 'static {
    let mut numbers = Numbers(count);
    (0..count).map(move |_| {
        let input = transfer_body(&mut numbers, ACCOUNTS);
        format!("{{\"operation\":\"accounts/transfer\",\"input\":{input}}}")
    })
}

/// Sends a stream of lines while its answers are read, and counts those with 201.
async fn stream(lockstep: &Process, lines: impl Iterator<Item = String> + Send + 'static) -> u64 {
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
    let mut answers = client.request(request).await.unwrap().into_body();
    let mut rest: Vec<u8> = Vec::new();
    let mut good = 0;
    while let Some(frame) = answers.frame().await {
        rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in rest[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let head = std::str::from_utf8(&line[..40.min(line.len())]).unwrap_or_default();
            if head.contains("\"status\":201") {
                good += 1;
            } else {
                println!("{}", String::from_utf8_lossy(line));
            }
        }
        rest.drain(..end);
    }
    good
}

/// What is resident of a process.
fn memory_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The sum over all accounts, where the service finds it right.
async fn balanced(lockstep: &Process) -> String {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/accounts/integrity", lockstep.address));
    let answer = client.request(request.body(Body::empty()).unwrap()).await.unwrap();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let integrity: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity}");
    integrity["currencies"][0]["sum"].as_str().unwrap().to_owned()
}
