//! Tests of sentinels: the primary is found, and found anew when it is another server.

use std::{process::Command, time::Duration};

use lockstep::store::{Access, AdminConnection, StartRefusal, StoreMode};
use redis::Commands;
use serde_json::json;

use crate::{
    group::{Group, NAME, Sentinel, wait_for_long},
    support::{Process, Server, Service, free_port, race, wait_for, wait_until},
};

fn watching(key: &str) -> serde_json::Value {
    json!({ "watch": [key], "operations": [{ "type": "incr", "key": key }] })
}

/// Every way to the server is one to the primary, before a failover and after it: batches, WATCH, the waiters'
/// subscription and the connection of callers' scripts.
#[tokio::test(flavor = "multi_thread")]
async fn every_connection_leads_to_the_primary_of_now() {
    let group = Group::start();
    let service = group.service(|_| {});
    service.open("alice", "0").await;
    let source = "return redis.call('INCR', KEYS[1])";
    service.put("/scripts/s", json!({ "source": source, "keys": ["k"] })).await.assert(201);
    for round in 1..=2 {
        let deposits = race(50, |_| service.deposit("alice", "1")).await;
        assert_eq!(deposits.count(201), 50, "round {round}");
        service.post("/transactions", watching("n")).await.assert(200);
        let run =
            service.post("/scripts/s/run", json!({ "keys": ["s"], "args": [] })).await.assert(200);
        assert_eq!(run["result"], round);
        let lease = service.acquire("l", "me", 60_000).await.assert(201);
        let waits = json!({ "lock": "l", "owner": "you", "wait_ms": 20_000, "ttl_ms": 1 });
        let waiting = tokio::spawn(service.post("/locks", waits).into_future());
        let process = format!("lockstep:process:{}", service.store.process());
        let mut raw = group.primary().connection();
        wait_for("the subscription to be at the primary", || {
            let (_, count): (String, u64) =
                redis::cmd("PUBSUB").arg("NUMSUB").arg(&process).query(&mut raw).unwrap();
            (count == 1).then_some(())
        });
        let released = json!({ "lock": "l", "lease_id": lease["lease_id"] });
        service.post("/locks/release", released).await.assert(200);
        waiting.await.unwrap().assert(201);
        if round == 1 {
            group.fail_over();
            // What the old primary takes until it is told is lost.
            group.wait_until_whole();
            serves(&service).await;
        }
    }
    assert_eq!(service.balance("alice").await, "100.00");
}

/// Waits until a write has an answer.
async fn serves(service: &Service) {
    let is_serving = async || service.increment("probe", 1).await.status.as_u16() == 200;
    wait_until("the new primary", is_serving).await;
}

/// Only reads are sent to the old primary, which answers them: it is left all the same.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_from_the_old_primary_for_long() {
    let group = Group::start();
    let service = group.service(|_| {});
    service.open("alice", "5").await;
    group.fail_over();
    group.wait_until_whole();
    let mut direct = Service::on_own_redis(group.primary());
    direct.space.clone_from(&service.space);
    direct.deposit("alice", "1").await.assert(201);
    let is_new = async || service.get("/accounts/alice/balance").await.body["balance"] == "6.00";
    wait_until("the balance of the new primary", is_new).await;
}

/// A sentinel that is gone or knows something old is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_is_gone_or_wrong_is_passed_over() {
    let mut group = Group::start();
    let replica = group.replicas()[0].port();
    let wrong = Sentinel::watching(&[(NAME, free_port())]);
    let stale = Sentinel::watching(&[("other", replica)]);
    let gone = free_port();
    let url = |port: u16| format!("127.0.0.1:{port}");
    let seeds = [url(gone), url(wrong.port), url(stale.port), url(group.sentinels[2].port)];
    let service = Service::with(|settings| {
        settings.url = format!("redis://{}", seeds.join(","));
        settings.access.mode = StoreMode::Sentinel;
        settings.access.sentinel_master = Some(NAME.to_owned());
    });
    service.open("alice", "0").await;
    drop(group.sentinels.remove(0));
    service.deposit("alice", "1").await.assert(201);
}

/// What sentinels announce may be reachable elsewhere only.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_address_is_mapped() {
    let server = Server::start(&[]);
    let announced = free_port();
    let sentinel = Sentinel::watching(&[(NAME, announced)]);
    let service = Service::with(|settings| {
        settings.url = sentinel.url();
        let mapping = format!("127.0.0.1:{announced}=localhost:{}", server.port());
        settings.access.node_map = vec![mapping.parse().unwrap()];
    });
    service.open("alice", "0").await;
    let unmapped = Service::with(|settings| settings.url = sentinel.url());
    unmapped.get("/accounts/alice").await.expect_problem(503, "store_unavailable");
}

/// A password is sent to a sentinel that asks for one.
#[tokio::test(flavor = "multi_thread")]
async fn sentinels_may_ask_for_the_password() {
    let server = Server::start(&["--requirepass", "secret"]);
    let sentinel = Sentinel::watching(&[(NAME, server.port())]);
    let mut raw = redis::Client::open(sentinel.url()).unwrap().get_connection().unwrap();
    for asks in [false, true] {
        if asks {
            redis::cmd("ACL")
                .arg(&["SETUSER", "default", "resetpass", ">secret"])
                .exec(&mut raw)
                .unwrap();
        }
        let service = Service::with(|settings| {
            settings.url = sentinel.url().replace("redis://", "redis://:secret@");
        });
        service.open("alice", "0").await;
    }
}

async fn refusal(url: &str, group: Option<&str>) -> StartRefusal {
    let access = Access { sentinel_master: group.map(str::to_owned), ..Access::default() };
    match AdminConnection::connect(url, &access, Duration::from_secs(20)).await {
        Ok(_) => panic!("connected"),
        Err(refusal) => refusal,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_clear_is_refused_with_the_names() {
    let (server, other) = (Server::start(&[]), Server::start(&[]));
    let sentinel = Sentinel::watching(&[("b", server.port()), ("a", other.port())]);
    let several = refusal(&sentinel.url(), None).await.to_string();
    assert!(several.contains("give --sentinel-master with one of a, b"), "{several}");
    let unknown = refusal(&sentinel.url(), Some("c")).await.to_string();
    assert!(unknown.contains("know no group c") && unknown.contains("a, b"), "{unknown}");
    let none = Sentinel::watching(&[]);
    let none = refusal(&none.url(), None).await.to_string();
    assert!(none.contains("knows no group"), "{none}");

    let ended = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--redis-url", &sentinel.url()])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && said.contains("one of a, b"), "{said}");
    let (url, named) = (sentinel.url(), ["--sentinel-master", "b"]);
    let process = Process::start(&[&["--redis-url", &url], named.as_slice()].concat());
    process.get("main", "/readyz").await.unwrap().assert(200);
}
