//! Of the calls of one process that wait for an entry, one looks for all of them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::{MINUTE, fill, get, invalidate, lease, waiting::waited_for};
use crate::support::{Server, Service, race};

/// How often the server has run a command.
fn calls(service: &Service, command: &str) -> u64 {
    let statistics: String =
        redis::cmd("INFO").arg("commandstats").query(&mut service.raw()).unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    let line = statistics.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// A large value that each of them reads would cost Redis a megabyte a caller, and some of them their answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_is_read_once_for_all_who_wait() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let token = lease(&service).await;
    let waiting = race(200, |_| get(&service, json!({ "wait_ms": 25_000 })));
    waited_for(&service, "k").await;
    let value = "x".repeat(500_000);
    fill(&service, &token, json!({ "value": value })).await.assert(200);
    let answers = waiting.await;
    assert_eq!(answers.count(200), 200);
    assert!(answers.iter().all(|answer| answer.body["value"] == value));
    let statistics = service.get("/cache/stats").await.assert(200);
    let [hits, waits] = ["hits", "waits"].map(|name| statistics[name].as_u64().unwrap());
    assert_eq!(hits, 200);
    // Those that came after the fill have not waited, and read for themselves.
    let reads = calls(&service, "hget");
    assert!(waits > 0 && reads <= (200 - waits) + 5, "{reads} reads, {waits} waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_is_checked_for_each_who_waits() {
    let service = Service::new();
    let lock = service.acquire("l", "me", MINUTE.cast_unsigned()).await.assert(201);
    let guard = format!("lock=l;token={}", lock["fencing_token"]);
    let token = lease(&service).await;
    let wait = json!({ "wait_ms": 25_000 });
    let guarded = race(5, |_| get(&service, wait.clone()).header("lockstep-guard", &guard));
    let others = race(5, |_| get(&service, wait.clone()));
    waited_for(&service, "k").await;
    let released = json!({ "lock": "l", "lease_id": lock["lease_id"] });
    service.post("/locks/release", released).await.assert(200);
    fill(&service, &token, json!({})).await.assert(200);
    assert!(others.await.iter().all(|answer| answer.body["value"] == "v"));
    assert_eq!(guarded.await.count_code("lock_not_held"), 5);
}

/// The source of a value: what was committed before an invalidation is what a call that begins after it sees.
#[derive(Default)]
struct Source {
    /// The newest value.
    written: AtomicUsize,
    /// The newest value of which the cache was told.
    invalidated: AtomicUsize,
}

/// Gets the value, or fills the entry, and checks that it is not older than what was invalidated before the call.
async fn read(service: &Service, source: &Source, body: Value) {
    let least = source.invalidated.load(Ordering::SeqCst);
    let answer = get(service, body).await.assert(200);
    if let Some(value) = answer["value"].as_str() {
        let value: usize = value.trim_end_matches('x').parse().unwrap();
        assert!(value >= least, "{value} after {least} was invalidated");
    }
    if answer["lease_token"].is_string() {
        let mut value = source.written.load(Ordering::SeqCst).to_string();
        // Others run between the look at the source and the fill.
        tokio::task::yield_now().await;
        if value.len().is_multiple_of(2) {
            value += &"x".repeat(20_000);
        }
        let filled =
            fill(service, &answer["lease_token"], json!({ "value": value, "tags": ["t"] }));
        let status = filled.await.status.as_u16();
        assert!(matches!(status, 200 | 409), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_was_invalidated_before_the_call() {
    let here = Service::new();
    let mut there = Service::new();
    there.space.clone_from(&here.space);
    let source = Arc::new(Source::default());
    let readers = race(24, |i| {
        let (service, source) =
            (if i % 2 == 0 { here.clone() } else { there.clone() }, Arc::clone(&source));
        async move {
            let body = match i % 3 {
                0 => json!({}),
                _ => json!({ "wait_ms": 25_000 }),
            };
            while source.written.load(Ordering::SeqCst) < 300 {
                read(&service, &source, body.clone()).await;
            }
        }
    });
    for number in 1..=300 {
        source.written.store(number, Ordering::SeqCst);
        let body =
            if number % 2 == 0 { json!({ "keys": ["k"] }) } else { json!({ "tags": ["t"] }) };
        invalidate(&here, body).await.assert(200);
        source.invalidated.store(number, Ordering::SeqCst);
    }
    readers.await;
}
