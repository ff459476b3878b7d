//! `make bench`, the part of rate limits: checks by the service, beside the same limit as people write it by hand: a
//! GCRA script that they call by HTTP through [webdis](https://webd.is), on the same Redis.
//!
//! - A check that is allowed, with a rule of its own and under a policy, and three checks at once.
//! - A check that is denied, by the store and by the denial that the process remembers.
//! - `GET /ratelimit/authorize`, called directly and by nginx for each request that it serves.
//!
//! All of them are measured in one run and in every round one after the other. It needs the Debian packages `webdis`
//! and `nginx-light`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use support::{
    CONNECTIONS, Measurement, Process, ROUND_DURATION, Random, Scenario, Setup, free_port, measure,
    read_answer, request, save, spread, start_server, webdis::start_webdis,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Rounds, more than in other parts because the ratios have aims.
const ROUNDS: usize = 5;

/// Keys that checks choose from.
const KEYS: u64 = 1000;

/// The limit by hand: one number, the moment at which the limit would be whole again. It returns what a caller needs:
/// whether the check is allowed, what is left, and two waits in microseconds.
const GCRA: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local whole_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local after = whole_at + interval * cost
local wait = after - interval * burst - now
if wait > 0 then
  return { 0, math.floor((now + interval * burst - whole_at) / interval), wait, whole_at - now }
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return { 1, math.floor(-wait / interval), 0, after - now }
";

/// The name of the script in Redis.
static SHA: OnceLock<String> = OnceLock::new();

const WEBDIS_ALLOWED: &str = "allowed, GCRA by webdis";
const ALLOWED: &str = "allowed";
const OF_POLICY: &str = "allowed, under a policy";
const SEVERAL: &str = "allowed, check-all of three";
const WEBDIS_DENIED: &str = "denied, GCRA by webdis";
const DENIED: &str = "denied by the store";
const LOCAL: &str = "denied by the process";
const AUTHORIZED: &str = "authorize";
const GATEWAY: &str = "authorize, by nginx";

type Results = BTreeMap<&'static str, Vec<Measurement>>;

#[tokio::main]
async fn main() {
    let Setup { mut redis, lockstep } = Setup::start().await;
    let redis_pid = redis.process.child.id();
    load_script(&mut redis.connection).await;
    let folder = std::env::temp_dir().join(format!("lockstep-bench-limits-{}", free_port()));
    fs::create_dir_all(&folder).unwrap();
    let webdis = start_webdis(&folder, &redis.url).await;
    let nginx = start_nginx(&folder, &lockstep.address).await;
    prepare(&lockstep.address).await;

    let scenario = |name, process: &Process, expected, requests| Scenario {
        name,
        address: process.address.clone(),
        service_pid: process.child.id(),
        expected,
        requests,
        callers: CONNECTIONS,
    };
    let ok = "HTTP/1.1 200";
    let mut scenarios = vec![
        scenario(WEBDIS_ALLOWED, &webdis, ok, gcra_allowed as fn(&mut Random) -> _),
        scenario(ALLOWED, &lockstep, ok, allowed),
        scenario(OF_POLICY, &lockstep, ok, of_policy),
        scenario(SEVERAL, &lockstep, ok, several),
        scenario(WEBDIS_DENIED, &webdis, ok, gcra_denied),
        scenario(DENIED, &lockstep, "HTTP/1.1 429", denied),
        scenario(LOCAL, &lockstep, "HTTP/1.1 429", denied_again),
        scenario(AUTHORIZED, &lockstep, "HTTP/1.1 204", authorize),
        scenario(GATEWAY, &nginx, ok, by_gateway),
    ];
    // What counts behind the gateway is what the service costs.
    scenarios.last_mut().unwrap().service_pid = lockstep.child.id();
    let mut results = Results::new();
    for _ in 0..ROUNDS {
        for scenario in &scenarios {
            let measurement = measure(scenario, redis_pid).await;
            results.entry(scenario.name).or_default().push(measurement);
        }
    }
    print_scenarios(&scenarios, &results);
    let ratios = print_ratios(&results);
    save("limits", &json!({ "figures": results, "ratios": ratios }));
    drop((webdis, nginx));
    let _ = fs::remove_dir_all(folder);
}

async fn load_script(connection: &mut MultiplexedConnection) {
    let mut load = redis::cmd("SCRIPT");
    let sha: String = load.arg("LOAD").arg(GCRA).query_async(connection).await.unwrap();
    SHA.set(sha).unwrap();
}

/// nginx with an answer of its own, behind the question of whether the request may pass.
async fn start_nginx(folder: &Path, lockstep: &str) -> Process {
    let port = free_port();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};"))
        .join(" ");
    let config = format!(
        "events {{}}
        http {{
            access_log off; keepalive_requests 100000000; {paths}
            upstream lockstep {{ server {lockstep}; keepalive 64; keepalive_requests 100000000; }}
            server {{
                listen 127.0.0.1:{port};
                location / {{ set $limited $arg_key; auth_request /limit; stub_status; }}
                location = /limit {{
                    internal;
                    proxy_pass http://lockstep/ratelimit/authorize?policy=wide&deny_status=403;
                    proxy_http_version 1.1;
                    proxy_pass_request_body off;
                    proxy_pass_request_headers off;
                    proxy_set_header Host localhost;
                    proxy_set_header Connection \"\";
                    proxy_set_header Content-Length \"\";
                    proxy_set_header Lockstep-Key $limited;
                }}
            }}
        }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let settings = format!(
        "daemon off; master_process off; pid {}; error_log stderr;",
        folder.join("pid").display()
    );
    let program = PathBuf::from("/usr/sbin/nginx");
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr", "-g", &settings]);
    start_server(&mut command, port).await
}

/// Puts the policy of the checks that are allowed, and uses up the limits of those that are denied.
async fn prepare(lockstep: &str) {
    let mut stream = TcpStream::connect(lockstep).await.unwrap();
    let mut buffer = Vec::new();
    let mut requests = vec![
        String::from_utf8(request("/ratelimit/policies/wide", "", &format!("{{{WIDE}}}")))
            .unwrap()
            .replacen("POST", "PUT", 1)
            .into_bytes(),
    ];
    for key in 0..KEYS {
        requests.push(check(&format!("\"key\":\"full{key}\",{}", bucket(1, DAY_MS))));
    }
    for request in requests {
        stream.write_all(&request).await.unwrap();
        let answer = read_answer(&mut stream, &mut buffer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(answer));
    }
}

const DAY_MS: u64 = 86_400_000;

/// A rule that is never used up.
const WIDE: &str = r#""capacity":1000000,"refill_tokens":1000000,"refill_interval_ms":1000"#;

fn bucket(capacity: u64, interval_ms: u64) -> String {
    format!("\"capacity\":{capacity},\"refill_tokens\":1,\"refill_interval_ms\":{interval_ms}")
}

fn check(fields: &str) -> Vec<u8> {
    request("/ratelimit", "", &format!("{{{fields}}}"))
}

fn get(path: &str) -> Vec<Vec<u8>> {
    vec![format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()]
}

fn gcra_allowed(random: &mut Random) -> Vec<Vec<u8>> {
    let key = random.below(KEYS);
    get(&format!("/EVALSHA/{}/1/gcra:wide{key}/1/1000000/1", SHA.get().unwrap()))
}

/// The first call of each key takes all that it has.
fn gcra_denied(random: &mut Random) -> Vec<Vec<u8>> {
    let key = random.below(KEYS);
    get(&format!("/EVALSHA/{}/1/gcra:full{key}/86400000000/1/1", SHA.get().unwrap()))
}

fn allowed(random: &mut Random) -> Vec<Vec<u8>> {
    vec![check(&format!("\"key\":\"wide{}\",{WIDE}", random.below(KEYS)))]
}

fn of_policy(random: &mut Random) -> Vec<Vec<u8>> {
    vec![check(&format!("\"key\":\"wide{}\",\"policy\":\"wide\"", random.below(KEYS)))]
}

fn several(random: &mut Random) -> Vec<Vec<u8>> {
    let mut checks = Vec::new();
    for kind in ["tenant", "user", "path"] {
        checks.push(format!("{{\"key\":\"{kind}{}\",{WIDE}}}", random.below(KEYS)));
    }
    vec![request("/ratelimit/check-all", "", &format!("{{\"checks\":[{}]}}", checks.join(",")))]
}

/// A process remembers a denial of the same rule. Buckets share what was taken whatever their interval is, so one
/// with an interval of its own is denied by the store.
fn denied(random: &mut Random) -> Vec<Vec<u8>> {
    let interval_ms = DAY_MS - 1 - random.below(10_000_000);
    vec![check(&format!("\"key\":\"full{}\",{}", random.below(KEYS), bucket(1, interval_ms)))]
}

fn denied_again(random: &mut Random) -> Vec<Vec<u8>> {
    vec![check(&format!("\"key\":\"full{}\",{}", random.below(KEYS), bucket(1, DAY_MS)))]
}

fn authorize(random: &mut Random) -> Vec<Vec<u8>> {
    get(&format!("/ratelimit/authorize?policy=wide&key=wide{}", random.below(KEYS)))
}

fn by_gateway(random: &mut Random) -> Vec<Vec<u8>> {
    get(&format!("/?key=wide{}", random.below(KEYS)))
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
    println!("| check | calls/s | p50 us | p99 us | service CPU us/call | Redis CPU us/call |");
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

/// Prints the ratios that have aims, each formed within a round, and returns them by name.
fn print_ratios(results: &Results) -> BTreeMap<String, (f64, f64, f64)> {
    let per_second: fn(&Measurement) -> f64 = |round| round.per_second;
    let redis_cpu: fn(&Measurement) -> f64 = |round| round.redis_cpu_us;
    let cpu: fn(&Measurement) -> f64 = |round| round.service_cpu_us + round.redis_cpu_us;
    let mut ratios = BTreeMap::new();
    println!("\n| ratio to GCRA by webdis | median (least-greatest) | aim |\n| --- | ---: | --- |");
    for (what, one, other, column, aim) in [
        ("calls per second", ALLOWED, WEBDIS_ALLOWED, per_second, "at least 1.3"),
        ("calls per second", OF_POLICY, WEBDIS_ALLOWED, per_second, "at least 1.3"),
        ("calls per second", DENIED, WEBDIS_DENIED, per_second, ""),
        ("calls per second", LOCAL, WEBDIS_DENIED, per_second, "at least 2.5"),
        ("Redis CPU", ALLOWED, WEBDIS_ALLOWED, redis_cpu, "at most 1.6"),
        ("Redis CPU", OF_POLICY, WEBDIS_ALLOWED, redis_cpu, "at most 1.6"),
        ("Redis CPU", DENIED, WEBDIS_DENIED, redis_cpu, "at most 1.6"),
        ("CPU of both", ALLOWED, WEBDIS_ALLOWED, cpu, ""),
        ("CPU of both", OF_POLICY, WEBDIS_ALLOWED, cpu, ""),
        ("CPU of both", DENIED, WEBDIS_DENIED, cpu, ""),
        ("CPU of both", LOCAL, WEBDIS_DENIED, cpu, ""),
    ] {
        let pairs = results[one].iter().zip(&results[other]);
        let (low, median, high) =
            spread(pairs.map(|(one, other)| column(one) / column(other)).collect());
        println!("| {what}: {one} | {median:.2} ({low:.2}-{high:.2}) | {aim} |");
        ratios.insert(format!("{what}: {one}"), (low, median, high));
    }
    ratios
}
