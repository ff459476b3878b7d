//! Calls of every kind over many spaces of a cluster without faults.

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::support::{Cluster, Server, Service, operation, race};

/// Spaces that together have a slot at each master.
pub fn spaces(service: &Service, count: usize) -> Vec<Service> {
    (0..count).map(|_| service.in_new_space()).collect()
}

fn keys_at(node: &Server) -> u64 {
    redis::cmd("DBSIZE").query(&mut node.connection()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_space_is_served_by_the_master_of_its_slot() {
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    let opened = race(60, |n| {
        let service = service.in_new_space();
        async move {
            service.open("alice", "10").await;
            service.open("bob", "0").await;
            let transfer = service.transfer("alice", "bob", "2.50").key(format!("t-{n}"));
            transfer.clone().await.assert(201);
            let repeated = transfer.await;
            repeated.assert(201);
            service.balance("alice").await
        }
    });
    for balance in opened.await {
        assert_eq!(balance, "7.50");
    }
    for node in &cluster.nodes {
        assert!(keys_at(node) > 60, "each master has spaces");
    }
    service.get("/readyz").await.assert(200);
    let health = service.get("/health").await.assert(200);
    let shards = health["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 3);
    let slots: u64 = shards.iter().map(|shard| shard["slots"].as_u64().unwrap()).sum();
    assert_eq!(slots, 16_384);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_call_finds_its_master() {
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    for space in spaces(&service, 12) {
        space.open("alice", "10").await;
        space.add_product("cup", 5).await;
        space.reserve("cup", 2, 60_000).await.assert(201);
        space.acquire("lock", "me", 60_000).await.assert(201);
        let operations = [
            operation("accounts/deposit", json!({ "account_id": "alice", "amount": "1" })),
            operation("counters/increment", json!({ "counter": "c" })),
        ];
        space.atomic(&operations).await.assert(200);
        let watching =
            json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n", "by": 3 }] });
        let done = space.post("/transactions", watching).await.assert(200);
        assert_eq!(done["results"][0]["result"], 3);
        let script = json!({ "source": "return redis.call('INCRBY', KEYS[1], 4)", "keys": ["n"] });
        space.put("/scripts/add", script).await.assert(201);
        let run = space.post("/scripts/add/run", json!({ "keys": ["n"] })).await.assert(200);
        assert_eq!(run["result"], 7);
        let traced = space.post("/scripts/add/trace", json!({ "keys": ["n"] })).await;
        traced.assert(200);
        space.get("/accounts/integrity").await.assert(200);
        space.get("/inventory/integrity").await.assert(200);
        assert_eq!(space.balance("alice").await, "11.00");
    }
    service.post("/scripts/flush", json!({})).await.assert(200);
    service.post("/scripts/kill", json!({})).await.assert(200);
    service.get("/monitoring/scripts").await.assert(200);
    let connections = service.get("/monitoring/connections").await.assert(200);
    let groups = connections["groups"].as_array().unwrap();
    for node in &cluster.nodes {
        let address = node.url.trim_start_matches("redis://");
        let names = groups.iter().filter(|group| group["shard"] == address);
        let mut names: Vec<_> = names.map(|group| group["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        // The last worker is that of callers' scripts.
        assert_eq!(names, ["large-calls", "pool", "transactions", "worker-0", "worker-1"]);
    }
    assert_eq!(groups.len(), 15);
}

/// A message that a script publishes at one master reaches the process, whose subscription may be at another.
#[tokio::test(flavor = "multi_thread")]
async fn waiters_of_locks_are_woken_wherever_their_space_is() {
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    let waits = race(9, |_| {
        let space = service.in_new_space();
        async move {
            let lease = space.acquire("lock", "first", 60_000).await.assert(201);
            let body = json!({ "lock": "lock", "owner": "second", "wait_ms": 20_000 });
            let waiting = tokio::spawn(space.post("/locks", body).into_future());
            loop {
                let lock = space.get("/locks/lock").await.assert(200);
                if lock["queue"].as_array().is_some_and(|queue| queue.len() == 1) {
                    break;
                }
            }
            let release = json!({ "lock": "lock", "lease_id": lease["lease_id"] });
            space.post("/locks/release", release).await.assert(200);
            let answer = waiting.await.unwrap().assert(201);
            assert!(answer["waited_ms"].as_u64().unwrap() < 10_000, "{answer:#}");
        }
    });
    waits.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_runs_in_its_order() {
    let cluster = Cluster::of_masters(3);
    let service = Service::on_cluster(&cluster);
    for space in spaces(&service, 6) {
        let line = |n: u64| {
            let input = json!({ "counter": "c", "value": n + 1, "if_value": n });
            format!("{}\n", operation("counters/set", input))
        };
        let lines: String = (0..500).map(line).collect();
        space.post("/counters/set", json!({ "counter": "c", "value": 0 })).await.assert(200);
        let stream = Request::post("/bulk").header("content-type", "application/x-ndjson");
        let stream = stream.header("lockstep-space", &space.space).body(Body::from(lines)).unwrap();
        let answer = space.send(stream).await;
        assert_eq!(answer.status.as_u16(), 200);
        assert_eq!(space.counter("c").await, 500);
    }
}
