//! `make bench`, sixth part: the cost of statistics. Two services make the same calls in turns, one with statistics and
//! one without (`--statistics false`), each in a database of its own on one server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use serde_json::json;
use support::{
    CONNECTIONS, Measurement, Process, Random, Redis, Scenario, measure, request, save, spread,
};

/// Rounds of each call; every round has both services, the one that begins in turns.
const ROUNDS: usize = 8;

/// A figure of a measurement.
type Column = fn(&Measurement) -> f64;

/// Makes the requests of one call.
type Requests = fn(&mut Random) -> Vec<Vec<u8>>;

/// The calls: name, beginning of the answer, and the request.
const CALLS: [(&str, &str, Requests); 2] = [
    ("counter", "HTTP/1.1 200", increment),
    ("refused transfer", "HTTP/1.1 404", refused_transfer),
];

#[tokio::main]
async fn main() {
    let redis = Redis::start(&[]).await;
    let services = [start(&redis, 0, "false"), start(&redis, 1, "true")];
    println!(
        "\nWithout and with statistics, {CONNECTIONS} connections in turns; median (least-greatest) of {ROUNDS} rounds\n"
    );
    println!("| statistics | without | with | ratio | aim |\n| --- | ---: | ---: | ---: | --- |");
    let mut results = json!({});
    for (name, expected, requests) in CALLS {
        let mut rounds: [Vec<Measurement>; 2] = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for turn in [round % 2, 1 - round % 2] {
                let scenario = Scenario {
                    name,
                    address: services[turn].address.clone(),
                    service_pid: services[turn].child.id(),
                    expected,
                    requests,
                    callers: CONNECTIONS,
                };
                let measurement = measure(&scenario, redis.process.child.id()).await;
                assert_eq!(measurement.failed, 0);
                rounds[turn].push(measurement);
            }
        }
        let columns: [(_, Column, _); 3] = [
            ("service CPU us", |round| round.service_cpu_us, "at most 1.03"),
            ("Redis CPU us", |round| round.redis_cpu_us, "none"),
            ("calls per second", |round| round.per_second, "none"),
        ];
        for (figure, column, aim) in columns {
            print_row(&format!("{figure} of a {name}"), &rounds, column, aim);
        }
        results[name] = json!({ "without": rounds[0], "with": rounds[1] });
    }
    save("monitoring", &results);
}

fn start(redis: &Redis, database: usize, statistics: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    let url = format!("{}/{database}", redis.url);
    command.args(["--listen", "127.0.0.1:0", "--redis-url", &url, "--statistics", statistics]);
    Process::start(&mut command)
}

fn print_row(name: &str, rounds: &[Vec<Measurement>; 2], column: Column, aim: &str) {
    let cell = |values: Vec<f64>, digits: usize| {
        let (low, median, high) = spread(values);
        format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
    };
    let [without, with] = [0, 1].map(|version| rounds[version].iter().map(column).collect());
    let pairs = rounds[0].iter().zip(&rounds[1]);
    let ratios = pairs.map(|(without, with)| column(with) / column(without)).collect();
    println!("| {name} | {} | {} | {} | {aim} |", cell(without, 1), cell(with, 1), cell(ratios, 3));
}

fn increment(random: &mut Random) -> Vec<Vec<u8>> {
    let body = format!("{{\"counter\":\"c{}\"}}", random.below(1000));
    vec![request("/counters/increment", "", &body)]
}

fn refused_transfer(random: &mut Random) -> Vec<Vec<u8>> {
    let from = random.below(1000);
    let body =
        format!("{{\"from_account\":\"n{from}\",\"to_account\":\"nobody\",\"amount\":\"0.01\"}}");
    vec![request("/accounts/transfer", "", &body)]
}
