//! Keys in several processes: revocation, an outage of the store, failures by address, and secrets that are nowhere.

use std::{fs::File, process::Stdio, time::Duration};

use axum::{body::Body, http::Request};
use lockstep::auth::CallerKey;
use redis::Commands;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::ready;
use crate::support::{Answer, Process, Server, all_keys, race, unique, wait_for};

/// A server, and the root key of the services on it.
struct Shared {
    server: Server,
    root: CallerKey,
}

impl Shared {
    fn new() -> Shared {
        Shared { server: Server::of_this_run(), root: CallerKey::generate().unwrap() }
    }

    fn start(&self, log: Stdio, more: &[&str]) -> Process {
        let digest = self.root.digest().to_string();
        let own = ["--redis-url", &self.server.url, "--root-key-sha256", &digest];
        Process::start_at_level("debug", log, &[&own, more].concat())
    }

    async fn process(&self, more: &[&str]) -> Process {
        ready(self.start(Stdio::null(), more)).await
    }

    async fn made(&self, process: &Process, body: Value) -> Value {
        process.call(self.root.text(), "POST", "/keys", &body).await.unwrap().assert(201)
    }

    async fn key(&self, process: &Process) -> (String, String) {
        let body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
        let made = self.made(process, body).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("key_id"), text("key"))
    }
}

/// Calls until the answer has this status, and panics after the bound.
async fn until(process: &Process, key: &str, status: u16, bound: Duration) {
    let waiting = async {
        while process.call(key, "GET", "/counters/c", &Value::Null).await.unwrap().status != status
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(bound, waiting).await.expect("the status in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_known_to_another_process_within_two_seconds() {
    let shared = Shared::new();
    // Calls until a process knows a key fail, and the limit of failures is not what is asked here.
    let many = ["--auth-failures", "1000000"];
    let (one, two) = (shared.process(&many).await, shared.process(&many).await);
    let bound = Duration::from_secs(2);
    for _ in 0..3 {
        let (id, key) = shared.key(&one).await;
        until(&two, &key, 200, bound).await;
        let revoke = json!({ "key_id": id });
        one.call(shared.root.text(), "POST", "/keys/revoke", &revoke).await.unwrap().assert(200);
        let refused = one.call(&key, "GET", "/counters/c", &Value::Null).await.unwrap();
        refused.expect_problem(401, "unauthenticated");
        until(&two, &key, 401, bound).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_turns_no_valid_key_away() {
    let shared = Shared::new();
    let process = shared.process(&["--store-timeout-ms", "2000"]).await;
    let (_, key) = shared.key(&process).await;
    let hanging = shared.server.hang();
    // Each takes as long as several looks at the keys.
    for _ in 0..2 {
        let answer = process.call(&key, "GET", "/counters/c", &Value::Null).await.unwrap();
        assert!([503, 504].contains(&answer.status.as_u16()), "{:#}", answer.body);
        let unknown = CallerKey::generate().unwrap();
        let refused = process.call(unknown.text(), "GET", "/counters/c", &Value::Null).await;
        refused.unwrap().expect_problem(401, "unauthenticated");
    }
    drop(hanging);
    until(&process, &key, 200, Duration::from_secs(20)).await;
    // At a start without the store nothing is known of any key.
    drop(process);
    let hanging = shared.server.hang();
    let process = shared.start(Stdio::null(), &["--store-timeout-ms", "2000"]);
    let answer = process.call(&key, "GET", "/counters/c", &Value::Null).await.unwrap();
    answer.expect_problem(503, "store_unavailable");
    assert_eq!(process.get("main", "/readyz").await.unwrap().status, 503);
    drop(hanging);
    until(&process, &key, 200, Duration::from_secs(20)).await;
    process.get("main", "/readyz").await.unwrap().assert(200);
}

/// One call with a wrong key that a gateway has passed on.
async fn forwarded(process: &Process, header: &str, value: &str, key: &str) -> Answer {
    let request = Request::get(format!("http://{}/counters/c", process.address))
        .header("authorization", format!("Bearer {key}"))
        .header(header, value)
        .body(Body::empty());
    process.send(request.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_fail_so_often_and_those_with_a_key_go_on() {
    let shared = Shared::new();
    let process =
        shared.process(&["--auth-failures", "40", "--trusted-proxy", "127.0.0.0/8"]).await;
    let (_, key) = shared.key(&process).await;
    let wrong = CallerKey::generate().unwrap();
    let process = std::sync::Arc::new(process);
    // A window of the limiter can end meanwhile, and then as many more may fail.
    let answers = race(120, |_| {
        let (process, wrong) = (process.clone(), wrong.text().to_owned());
        Box::pin(async move { forwarded(&process, "x-forwarded-for", "192.0.2.7", &wrong).await })
    })
    .await;
    let refused = answers.count_code("unauthenticated");
    assert!([40, 80].contains(&refused), "{refused}");
    assert_eq!(answers.count_code("too_many_failures"), 120 - refused);
    let held_up = answers.iter().find(|answer| answer.status == 429).unwrap();
    let seconds: u64 = held_up.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // Another caller of the same gateway, and one with a key.
    let other = forwarded(&process, "x-forwarded-for", "192.0.2.8", wrong.text()).await;
    other.expect_problem(401, "unauthenticated");
    let other = forwarded(&process, "forwarded", "for=192.0.2.9", wrong.text()).await;
    other.expect_problem(401, "unauthenticated");
    forwarded(&process, "x-forwarded-for", "192.0.2.7", &key).await.assert(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_a_stranger_does_not_change_its_address() {
    let shared = Shared::new();
    let process = shared.process(&["--auth-failures", "3"]).await;
    let wrong = CallerKey::generate().unwrap();
    let mut held_up = 0;
    for number in 0..8 {
        let address = format!("192.0.2.{number}");
        let answer = forwarded(&process, "x-forwarded-for", &address, wrong.text()).await;
        held_up += usize::from(answer.status == 429);
    }
    assert!(held_up >= 2, "{held_up}");
}

/// Everything that Redis and the log have after calls of all kinds is searched for the secrets of keys.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_redis_or_in_the_log() {
    let shared = Shared::new();
    let path = std::env::temp_dir().join(unique("lockstep-log-"));
    let log = Stdio::from(File::create(&path).unwrap());
    let mut process = ready(shared.start(log, &["--access-log", "--log-format", "json"])).await;
    let root = shared.root.text().to_owned();
    let body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
    let request = Request::post(format!("http://{}/keys", process.address))
        .header("authorization", format!("Bearer {root}"))
        .header("content-type", "application/json")
        .header("idempotency-key", "once")
        .body(Body::from(body.to_string()));
    let made = process.send(request.unwrap()).await.unwrap().assert(201);
    let mut secrets = vec![root.clone(), made["key"].as_str().unwrap().to_owned()];
    let id = json!({ "key_id": made["key_id"] });
    let rotated = process.call(&root, "POST", "/keys/rotate", &id).await.unwrap().assert(200);
    secrets.push(rotated["key"].as_str().unwrap().to_owned());
    let key = secrets[2].clone();
    let account = json!({ "account_id": "alice", "initial_balance": "1" });
    process.call(&key, "POST", "/accounts", &account).await.unwrap().assert(201);
    process
        .call(&key, "POST", "/accounts", &account)
        .await
        .unwrap()
        .expect_problem(409, "account_exists");
    process.call(&key, "GET", "/nowhere", &Value::Null).await.unwrap();
    process.call(&key, "POST", "/accounts", &json!({ "x": 1 })).await.unwrap();
    let wrong = CallerKey::generate_for(made["key_id"].as_str().unwrap()).unwrap();
    process.call(wrong.text(), "GET", "/accounts/alice", &Value::Null).await.unwrap();
    secrets.push(wrong.text().to_owned());
    let metrics = process.call(&key, "GET", "/metrics", &Value::Null).await.unwrap();
    let failures = process.call(&key, "GET", "/monitoring/failures", &Value::Null).await.unwrap();
    process.call(&root, "POST", "/keys/revoke", &id).await.unwrap().assert(200);
    process.signal(Signal::TERM);
    assert!(wait_for("the end", || process.try_wait()).success());
    let mut haystacks = vec![
        ("the log".to_owned(), std::fs::read(&path).unwrap()),
        ("the metrics".to_owned(), metrics.bytes),
        ("the failures".to_owned(), failures.bytes),
    ];
    std::fs::remove_file(path).unwrap();
    let connection = &mut shared.server.connection();
    for name in all_keys(connection, "*") {
        haystacks.push((name.clone(), content(connection, &name)));
        haystacks.push((name.clone(), name.into_bytes()));
    }
    assert!(haystacks.len() > 20, "{}", haystacks.len());
    for secret in secrets {
        let secret = &secret.as_bytes()[17..];
        for (name, content) in &haystacks {
            let found = content.windows(secret.len()).any(|part| part == secret);
            assert!(!found, "{name} has a secret");
        }
    }
}

/// All that is under a key, uncompressed.
fn content(connection: &mut redis::Connection, key: &str) -> Vec<u8> {
    let kind: String = redis::cmd("TYPE").arg(key).query(connection).unwrap();
    match kind.as_str() {
        "string" => connection.get(key).unwrap(),
        "list" => connection.lrange::<_, Vec<Vec<u8>>>(key, 0, -1).unwrap().concat(),
        "hash" => connection.hgetall::<_, Vec<Vec<u8>>>(key).unwrap().concat(),
        "zset" => connection.zrange::<_, Vec<Vec<u8>>>(key, 0, -1).unwrap().concat(),
        other => panic!("no type {other}"),
    }
}
