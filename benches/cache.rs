//! `make bench`, the part of the cache: calls under `/cache`, beside a plain GET by HTTP through
//! [webdis](https://webd.is), on the same Redis.
//!
//! - A hit of 1 KiB, with and without a tag, and one of a value that is stale while somebody else fills it.
//! - A miss and the fill after it.
//! - The same hits while other callers store and get values of 1 MiB: large values must not hold up small calls.
//! - A thousand callers that wait for one missing key: the time from the fill to their answers, of one process and of two.
//!
//! The calls are measured in one run and in every round one after the other. It needs the Debian package `webdis`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use support::{
    CONNECTIONS, Measurement, Process, ROUND_DURATION, Random, Scenario, Setup, free_port, measure,
    read_answer, request, save, spread, start_lockstep, unique, webdis::start_webdis,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

/// Rounds, more than in other parts because the ratio has an aim.
const ROUNDS: usize = 5;

/// Keys that calls choose from.
const KEYS: u64 = 1000;

/// Callers of large values, and their pause after each call.
const LARGE_CALLERS: u64 = 4;
const LARGE_PAUSE: Duration = Duration::from_millis(20);

/// Callers that wait for one key, and how often they do.
const WAITERS: usize = 1000;
const WAKES: usize = 10;

const WEBDIS: &str = "plain GET by webdis";
const HIT: &str = "hit";
const TAGGED: &str = "hit, with a tag";
const STALE: &str = "stale hit";
const FILL: &str = "miss, then fill";
const BESIDE: &str = "hit, beside values of 1 MiB";

type Results = BTreeMap<&'static str, Vec<Measurement>>;

#[tokio::main]
async fn main() {
    let Setup { mut redis, lockstep } = Setup::start().await;
    let redis_pid = redis.process.child.id();
    let folder = std::env::temp_dir().join(format!("lockstep-bench-cache-{}", free_port()));
    fs::create_dir_all(&folder).unwrap();
    let webdis = start_webdis(&folder, &redis.url).await;
    prepare(&mut redis.connection, &lockstep.address).await;

    let scenario = |name, process: &Process, requests| Scenario {
        name,
        address: process.address.clone(),
        service_pid: process.child.id(),
        expected: "HTTP/1.1 200",
        requests,
        callers: CONNECTIONS,
    };
    let scenarios = [
        scenario(WEBDIS, &webdis, plain as fn(&mut Random) -> _),
        scenario(HIT, &lockstep, |random| get("fresh", random)),
        scenario(TAGGED, &lockstep, |random| get("tagged", random)),
        scenario(STALE, &lockstep, |random| get("stale", random)),
        scenario(FILL, &lockstep, miss_and_fill),
        scenario(BESIDE, &lockstep, |random| get("fresh", random)),
    ];
    let mut results = Results::new();
    for _ in 0..ROUNDS {
        for scenario in &scenarios {
            let large = (scenario.name == BESIDE).then(|| large_values(&lockstep.address));
            let measurement = measure(scenario, redis_pid).await;
            results.entry(scenario.name).or_default().push(measurement);
            drop(large);
        }
    }
    print_scenarios(&scenarios, &results);
    let ratios = print_ratios(&results);
    drop(webdis);
    let wakes = measure_wakes(&lockstep.address, &redis.url).await;
    save("cache", &json!({ "figures": results, "ratios": ratios, "wakes": wakes }));
    let _ = fs::remove_dir_all(folder);
}

/// Measures and prints the milliseconds from sending a fill to the answers of all who wait for it, by what is measured.
async fn measure_wakes(address: &str, redis_url: &str) -> BTreeMap<String, Vec<f64>> {
    let second = start_lockstep(env!("CARGO_BIN_EXE_lockstep"), redis_url);
    let mut wakes = BTreeMap::new();
    println!(
        "\n{WAITERS} callers wait for one key, {WAKES} times; ms from sending the fill, median (least-greatest)\n"
    );
    println!("| value | processes | p50 | p99 | last |\n| --- | ---: | ---: | ---: | ---: |");
    for (value, bytes) in [("1 KiB", 1024), ("100 KiB", 100 * 1024)] {
        for addresses in [&[address][..], &[address, second.address.as_str()]] {
            let mut columns = [const { Vec::new() }; 3];
            for _ in 0..WAKES {
                let mut answered = wake(addresses, bytes).await;
                answered.sort_by(f64::total_cmp);
                for (column, place) in columns.iter_mut().zip([500, 990, WAITERS - 1]) {
                    column.push(answered[place]);
                }
            }
            let cells = columns.clone().map(|column| {
                let (low, median, high) = spread(column);
                format!("{median:.1} ({low:.1}-{high:.1})")
            });
            println!("| {value} | {} | {} |", addresses.len(), cells.join(" | "));
            let [.., last] = columns;
            wakes.insert(format!("last, {value}, processes: {}", addresses.len()), last);
        }
    }
    wakes
}

/// Has callers of these services wait for one missing key, fills it at the last of them, and returns the
/// milliseconds from there to each answer.
async fn wake(addresses: &[&str], bytes: usize) -> Vec<f64> {
    let (key, filler) = (unique(), addresses[addresses.len() - 1]);
    let get = request(
        "/cache/get",
        "",
        &format!(r#"{{"key":"awaited{key}","wait_ms":20000,"lease_ms":60000}}"#),
    );
    let leased = call(filler, &get).await;
    let lease = leased.split_once("\"lease_token\":\"").expect("the lease").1[..38].to_owned();
    let mut waiters = JoinSet::new();
    for number in 0..WAITERS {
        let (address, get) = (addresses[number % addresses.len()].to_owned(), get.clone());
        waiters.spawn(async move {
            let answer = call(&address, &get).await;
            let answered = Instant::now();
            assert!(answer.contains("\"hit\":true"), "{answer}");
            answered
        });
    }
    // All of them have asked once by then; nothing tells a client that it waits.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let value = "x".repeat(bytes);
    let fill = format!(
        r#"{{"key":"awaited{key}","lease_token":"{lease}","value":"{value}","ttl_ms":60000}}"#
    );
    let filled = Instant::now();
    call(filler, &request("/cache/fill", "", &fill)).await;
    let answered = waiters.join_all().await;
    answered.into_iter().map(|at| at.duration_since(filled).as_secs_f64() * 1e3).collect()
}

/// Stores what the calls get. The lease of a stale value is taken, so that none of them gets it.
async fn prepare(connection: &mut MultiplexedConnection, lockstep: &str) {
    let value = "x".repeat(1024);
    for key in 0..KEYS {
        let mut set = redis::cmd("SET");
        let () = set.arg(format!("plain{key}")).arg(&value).query_async(connection).await.unwrap();
        for (kind, fields) in [
            ("fresh", r#""ttl_ms":3600000"#),
            ("tagged", r#""ttl_ms":3600000,"tags":["all"]"#),
            ("stale", r#""ttl_ms":1,"stale_ms":3600000"#),
        ] {
            let body = format!(r#"{{"key":"{kind}{key}","value":"{value}",{fields}}}"#);
            call(lockstep, &request("/cache/set", "", &body)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    for key in 0..KEYS {
        let body = format!(r#"{{"key":"stale{key}","lease_ms":3600000}}"#);
        call(lockstep, &request("/cache/get", "", &body)).await;
    }
}

async fn call(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = Vec::new();
    stream.write_all(request).await.unwrap();
    let answer = read_answer(&mut stream, &mut buffer).await.unwrap();
    let answer = String::from_utf8_lossy(answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Callers that store and get values of 1 MiB, until this is dropped.
fn large_values(address: &str) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for number in 0..LARGE_CALLERS {
        let address = address.to_owned();
        callers.spawn(async move {
            let value = "x".repeat(1024 * 1024);
            let set = format!(r#"{{"key":"large{number}","value":"{value}","ttl_ms":60000}}"#);
            let set = request("/cache/set", "", &set);
            let get = request("/cache/get", "", &format!(r#"{{"key":"large{number}"}}"#));
            loop {
                for request in [&set, &get, &get, &get] {
                    call(&address, request).await;
                    tokio::time::sleep(LARGE_PAUSE).await;
                }
            }
        });
    }
    callers
}

fn plain(random: &mut Random) -> Vec<Vec<u8>> {
    let key = random.below(KEYS);
    vec![format!("GET /GET/plain{key} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()]
}

fn get(kind: &str, random: &mut Random) -> Vec<Vec<u8>> {
    vec![request("/cache/get", "", &format!(r#"{{"key":"{kind}{}"}}"#, random.below(KEYS)))]
}

/// Two requests: a key that nobody has asked for, and its fill.
fn miss_and_fill(random: &mut Random) -> Vec<Vec<u8>> {
    // One number has 31 bits, and two of a round would be the same.
    let key = format!("{}-{}", random.below(u64::MAX), random.below(u64::MAX));
    let value = "x".repeat(1024);
    // The lease of the first request takes the place of the zeros.
    let lease = "0".repeat(38);
    let fill = format!(
        r#"{{"key":"missing{key}","value":"{value}","ttl_ms":10000,"lease_token":"{lease}"}}"#
    );
    vec![
        request("/cache/get", "", &format!(r#"{{"key":"missing{key}"}}"#)),
        request("/cache/fill", "", &fill),
    ]
}

fn print_scenarios(scenarios: &[Scenario], results: &Results) {
    let cell = |rounds: &[Measurement], column: fn(&Measurement) -> f64| {
        let (low, median, high) = spread(rounds.iter().map(column).collect());
        format!("{median:.1} ({low:.1}-{high:.1})")
    };
    println!(
        "\n{CONNECTIONS} keep-alive connections, {ROUNDS} rounds of {} s; median (least-greatest)\n",
        ROUND_DURATION.as_secs()
    );
    println!("| call | requests/s | p50 us | p99 us | service CPU us | Redis CPU us |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for Scenario { name, .. } in scenarios {
        let rounds = &results[name];
        assert!(rounds.iter().all(|round| round.failed == 0), "{name}: {rounds:?}");
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            cell(rounds, |round| round.per_second),
            cell(rounds, |round| round.p50_us),
            cell(rounds, |round| round.p99_us),
            cell(rounds, |round| round.service_cpu_us),
            cell(rounds, |round| round.redis_cpu_us),
        );
    }
}

/// Prints ratios, each formed within a round, and returns them by name.
fn print_ratios(results: &Results) -> BTreeMap<String, (f64, f64, f64)> {
    let per_second: fn(&Measurement) -> f64 = |round| round.per_second;
    let cpu: fn(&Measurement) -> f64 = |round| round.service_cpu_us + round.redis_cpu_us;
    let p99: fn(&Measurement) -> f64 = |round| round.p99_us;
    let mut ratios = BTreeMap::new();
    println!("\n| ratio | median (least-greatest) | aim |\n| --- | ---: | --- |");
    for (what, one, other, column, aim) in [
        ("calls per second to webdis", HIT, WEBDIS, per_second, "at least 1"),
        ("calls per second to webdis", TAGGED, WEBDIS, per_second, ""),
        ("calls per second to webdis", STALE, WEBDIS, per_second, ""),
        ("CPU of service and Redis to webdis", HIT, WEBDIS, cpu, ""),
        ("p99 to hits alone", BESIDE, HIT, p99, ""),
    ] {
        let pairs = results[one].iter().zip(&results[other]);
        let (low, median, high) =
            spread(pairs.map(|(one, other)| column(one) / column(other)).collect());
        println!("| {what}: {one} | {median:.2} ({low:.2}-{high:.2}) | {aim} |");
        ratios.insert(format!("{what}: {one}"), (low, median, high));
    }
    ratios
}
