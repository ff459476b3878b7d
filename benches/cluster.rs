//! `make bench`, the part of clusters, with transfers in many spaces.
//!
//! - What a call costs the service: on a single server, on a cluster of one master, and on one of three.
//! - How many calls three masters carry for each that one carries. Redis uses one core, so a cluster is full when its
//!   busiest master is, and what counts is the CPU time of that one for each call of all. Callers pause here, so that no
//!   process waits for a core: where three masters share two cores, they take each other's caches.
//!
//! Each master has as many spaces as the single server. As fast as they can, callers are as many for one server as for three
//! masters: what a call costs the service depends on how many connections it has. With pauses each master has as many
//! callers, so that batches are as large.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{sync::OnceLock, time::Duration};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use support::{
    CONNECTIONS, Measurement, Process, Random, Redis, Scenario, free_port, measure_shards,
    read_answer, request, save, spread, start_lockstep, transfer_body,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const ROUNDS: usize = 8;

/// The number of hash slots of every cluster.
const SLOTS: usize = 16_384;

/// Masters of the larger cluster.
const MASTERS: usize = 3;

/// The pause of a caller after each call, where processes are not to wait for a core.
const PAUSE: Duration = Duration::from_millis(15);

/// Spaces of each master, and accounts of each space.
const SPACES: usize = 8;
const ACCOUNTS: u64 = 100;

const SINGLE: &str = "single server";
const ONE: &str = "cluster of one master";
const THREE: &str = "cluster of three masters";

/// Spaces that fill the masters evenly: first those of the first master, then those of the next.
static SPACE_NAMES: OnceLock<Vec<String>> = OnceLock::new();

/// Redis servers, and a Lockstep in front of them.
struct Shards {
    name: &'static str,
    redis: Vec<Redis>,
    lockstep: Process,
}

impl Shards {
    async fn single() -> Shards {
        let redis = Redis::start(&[]).await;
        let lockstep = start_lockstep(env!("CARGO_BIN_EXE_lockstep"), &redis.url);
        Shards { name: SINGLE, redis: vec![redis], lockstep }
    }

    async fn cluster(name: &'static str, masters: usize) -> Shards {
        let mut redis = Vec::new();
        for place in 0..masters {
            let bus_port = free_port().to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
            let mut node = Redis::start(&arguments).await;
            let (from, to) = (place * SLOTS / masters, (place + 1) * SLOTS / masters - 1);
            cluster(&mut node, &format!("ADDSLOTSRANGE {from} {to}")).await;
            cluster(&mut node, &format!("SET-CONFIG-EPOCH {}", place + 1)).await;
            redis.push(node);
            if place > 0 {
                let port = redis[place].url.rsplit(':').next().unwrap().to_owned();
                cluster(&mut redis[0], &format!("MEET 127.0.0.1 {port} {bus_port}")).await;
            }
        }
        for node in &mut redis {
            while !is_whole(node).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let lockstep = start_lockstep(env!("CARGO_BIN_EXE_lockstep"), &redis[0].url);
        Shards { name, redis, lockstep }
    }

    /// Opens the accounts of all spaces.
    async fn prepare(&self) {
        let mut stream = TcpStream::connect(&self.lockstep.address).await.unwrap();
        let mut buffer = Vec::new();
        for space in SPACE_NAMES.get().unwrap() {
            for account in 0..ACCOUNTS {
                let body = format!(r#"{{"account_id":"a{account}","initial_balance":"1000000"}}"#);
                let open = request("/accounts", &header(space), &body);
                stream.write_all(&open).await.unwrap();
                let answer = read_answer(&mut stream, &mut buffer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", self.name);
            }
        }
    }

    async fn measure(&self, pause: Duration) -> Measurement {
        let scenario = Scenario {
            name: self.name,
            address: self.lockstep.address.clone(),
            service_pid: self.lockstep.child.id(),
            expected: "HTTP/1.1 201",
            requests: if self.redis.len() == 1 { transfer_at_one } else { transfer_at_all },
            callers: CONNECTIONS * if pause.is_zero() { MASTERS } else { self.redis.len() },
        };
        let pids: Vec<u32> = self.redis.iter().map(|redis| redis.process.child.id()).collect();
        measure_shards(&scenario, &pids, pause).await
    }
}

#[tokio::main]
async fn main() {
    let three = Shards::cluster(THREE, MASTERS).await;
    SPACE_NAMES.set(even_spaces(&three.redis[0]).await).unwrap();
    let all = [Shards::single().await, Shards::cluster(ONE, 1).await, three];
    for shards in &all {
        shards.prepare().await;
    }
    let (mut full, mut paused) = (Rounds::default(), Rounds::default());
    for round in 0..ROUNDS {
        for turn in 0..all.len() {
            let turn = (turn + round) % all.len();
            for (rounds, pause) in [(&mut full, Duration::ZERO), (&mut paused, PAUSE)] {
                let measurement = all[turn].measure(pause).await;
                assert_eq!(measurement.failed, 0, "{}", all[turn].name);
                rounds[turn].push(measurement);
            }
        }
    }
    let how = format!("as fast as {} callers can", MASTERS * CONNECTIONS);
    print_scenarios(&how, &all, &full);
    let how = format!("by {CONNECTIONS} callers a master, with pauses of {} ms", PAUSE.as_millis());
    print_scenarios(&how, &all, &paused);
    let ratios = print_ratios(&full, &paused);
    save("cluster", &json!({ "full": full, "paused": paused, "ratios": ratios }));
}

/// The rounds of the single server, of one master, and of three.
type Rounds = [Vec<Measurement>; 3];

/// A figure of a measurement.
type Column = fn(&Measurement) -> f64;

fn print_scenarios(how: &str, all: &[Shards; 3], rounds: &Rounds) {
    println!(
        "\nTransfers {how}, {SPACES} spaces of each master, in turns; median (least-greatest) of {ROUNDS} rounds\n"
    );
    println!(
        "| | calls/s | p50 us | p99 us | service CPU us | CPU us of the busiest Redis per call of all |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (shards, rounds) in all.iter().zip(rounds) {
        let cell = |column: Column| {
            let (low, median, high) = spread(rounds.iter().map(column).collect());
            format!("{median:.1} ({low:.1}-{high:.1})")
        };
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            shards.name,
            cell(|round| round.per_second),
            cell(|round| round.p50_us),
            cell(|round| round.p99_us),
            cell(|round| round.service_cpu_us),
            cell(|round| round.redis_cpu_us),
        );
    }
}

/// Prints ratios, each formed within a round, and returns them.
fn print_ratios(full: &Rounds, paused: &Rounds) -> Vec<(&'static str, (f64, f64, f64))> {
    let [single, one, three] = full;
    let [_, paused_one, paused_three] = paused;
    let service: Column = |round| round.service_cpu_us;
    let redis: Column = |round| round.redis_cpu_us;
    let mut ratios = Vec::new();
    println!("\n| ratio | median (least-greatest) | aim |\n| --- | ---: | --- |");
    for (name, above, below, column, aim) in [
        (
            "CPU of the service per call, one master to single server",
            one,
            single,
            service,
            "at most 1.1",
        ),
        (
            "CPU of the service per call, three masters to single server",
            three,
            single,
            service,
            "at most 1.1",
        ),
        (
            "calls that three masters carry to those of one",
            paused_one,
            paused_three,
            redis,
            "at least 2.7",
        ),
    ] {
        let pairs = above.iter().zip(below);
        let (low, median, high) =
            spread(pairs.map(|(above, below)| column(above) / column(below)).collect());
        println!("| {name} | {median:.3} ({low:.3}-{high:.3}) | {aim} |");
        ratios.push((name, (low, median, high)));
    }
    ratios
}

/// Names of spaces of which each master of the larger cluster has the same number, in the order of the masters.
async fn even_spaces(node: &Redis) -> Vec<String> {
    let mut connection: MultiplexedConnection = node.connection.clone();
    let mut of_masters = vec![Vec::new(); MASTERS];
    let mut number = 0;
    while of_masters.iter().any(|spaces| spaces.len() < SPACES) {
        let space = format!("space-{number}");
        number += 1;
        let mut slot = redis::cmd("CLUSTER");
        slot.arg("KEYSLOT").arg(&space);
        let slot: usize = slot.query_async(&mut connection).await.unwrap();
        let spaces: &mut Vec<String> = &mut of_masters[slot * MASTERS / SLOTS];
        if spaces.len() < SPACES {
            spaces.push(space);
        }
    }
    of_masters.concat()
}

async fn cluster(node: &mut Redis, command: &str) {
    let mut cluster = redis::cmd("CLUSTER");
    cluster.arg(command.split(' ').collect::<Vec<_>>());
    let () = cluster.query_async(&mut node.connection).await.unwrap();
}

async fn is_whole(node: &mut Redis) -> bool {
    let mut info = redis::cmd("CLUSTER");
    let info: String = info.arg("INFO").query_async(&mut node.connection).await.unwrap();
    info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
}

fn header(space: &str) -> String {
    format!("Lockstep-Space: {space}\r\n")
}

fn transfer_at_one(random: &mut Random) -> Vec<Vec<u8>> {
    transfer(random, SPACES)
}

fn transfer_at_all(random: &mut Random) -> Vec<Vec<u8>> {
    transfer(random, MASTERS * SPACES)
}

/// A transfer in one of the first spaces.
fn transfer(random: &mut Random, spaces: usize) -> Vec<Vec<u8>> {
    let space = &SPACE_NAMES.get().unwrap()[random.below(spaces as u64) as usize];
    vec![request("/accounts/transfer", &header(space), &transfer_body(random, ACCOUNTS))]
}
