//! Calls that wait until somebody else has filled the entry.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{MINUTE, fill, get, invalidate, lease, set};
use crate::support::{Process, Service, race, wait_for, wait_until};

/// Waits until an entry has a waiting process.
pub async fn waited_for(service: &Service, key: &str) {
    let key = service.key("cache", key);
    let mut redis = service.raw();
    // The second byte before the tags is the number of processes, see `lib/cache_entry.lua`.
    wait_for("a waiter", || {
        let count: Vec<u8> =
            redis::cmd("GETRANGE").arg(&key).arg(51).arg(51).query(&mut redis).unwrap();
        count.first().filter(|count| **count > 0).map(|_| ())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_get_one_lease_and_all_of_them_the_value() {
    let service = Service::new();
    let calls = race(1000, |_| get(&service, json!({ "wait_ms": 20_000, "lease_ms": 60_000 })));
    let mut calls = calls;
    let leased = calls.next().await.assert(200);
    assert!(leased["lease_token"].is_string(), "{leased}");
    waited_for(&service, "k").await;
    let value = "x".repeat(1024);
    fill(&service, &leased["lease_token"], json!({ "value": value })).await.assert(200);
    let filled = Instant::now();
    let rest = calls.await;
    assert_eq!(rest.len(), 999);
    assert!(rest.iter().all(|answer| answer.body["value"] == value), "not all have the value");
    assert!(filled.elapsed() < Duration::from_secs(10), "{:?}", filled.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_hear_of_every_end_of_a_lease() {
    let service = Service::new();
    for keep_stale in [false, true] {
        let token = lease(&service).await;
        let waiting = race(1, |_| get(&service, json!({ "wait_ms": 20_000 })));
        waited_for(&service, "k").await;
        let body = json!({ "keys": ["k"], "keep_stale": keep_stale });
        invalidate(&service, body).await.assert(200);
        // Nobody fills the entry now, so the waiter is to.
        let next = waiting.await[0].body["lease_token"].clone();
        assert!(next.is_string() && next != token);
        let waiting = race(1, |_| get(&service, json!({ "wait_ms": 20_000 })));
        waited_for(&service, "k").await;
        set(&service, json!({ "value": "set" })).await.assert(200);
        assert_eq!(waiting.await[0].body["value"], "set");
        invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_takes_over_from_a_caller_that_never_fills() {
    let service = Service::new();
    get(&service, json!({ "lease_ms": 300 })).await.assert(200);
    let answer = get(&service, json!({ "wait_ms": 20_000 })).await.assert(200);
    assert!(answer["lease_token"].is_string(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_an_answer() {
    let service = Service::new();
    set(&service, json!({ "stale_ms": MINUTE })).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"], "keep_stale": true })).await.assert(200);
    get(&service, json!({ "lease_ms": 60_000 })).await.assert(200);
    for call in [
        get(&service, json!({ "wait_ms": 50 })),
        get(&service, json!({ "wait_ms": 0 })).header("prefer", "wait=20"),
        get(&service, json!({})),
    ] {
        let answer = call.await.assert(200);
        assert_eq!([&answer["filling"], &answer["stale_value"]], [&json!(true), &json!("v")]);
    }
    let preferred = get(&service, json!({})).header("prefer", "wait=1").await;
    assert_eq!(preferred.header("preference-applied"), Some("wait=1"));
    assert_eq!(preferred.assert(200)["filling"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_goes_takes_no_lease_with_it() {
    let service = Service::new();
    let token = lease(&service).await;
    let waiting = race(20, |_| get(&service, json!({ "wait_ms": 20_000, "lease_ms": 60_000 })));
    waited_for(&service, "k").await;
    drop(waiting);
    invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    fill(&service, &token, json!({})).await.expect_problem(409, "cache_lease_lost");
    let answer = get(&service, json!({ "wait_ms": 20_000 })).await.assert(200);
    assert!(answer["lease_token"].is_string(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_waits_with_an_answer() {
    let service = Service::new();
    get(&service, json!({ "lease_ms": 60_000 })).await.assert(200);
    let waiting = race(10, |_| get(&service, json!({ "wait_ms": 25_000 })));
    waited_for(&service, "k").await;
    service.store.drain();
    let answers = timeout(Duration::from_secs(10), waiting.into_future()).await.unwrap();
    assert!(answers.iter().all(|answer| answer.body["filling"] == true), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_tell_each_other() {
    let service = Service::new();
    let processes = [Process::shared(), Process::shared()];
    let body = json!({ "key": "k", "wait_ms": 20_000, "lease_ms": 60_000 });
    let leased = processes[0].post_once(&service.space, "/cache/get", &body).await.unwrap();
    let token = leased.assert(200)["lease_token"].clone();
    assert!(token.is_string());
    let calls: Vec<_> =
        (0..200).map(|i| processes[i % 2].post_once(&service.space, "/cache/get", &body)).collect();
    let waiting = futures_util::future::join_all(calls);
    let filling = async {
        let fill = json!({ "key": "k", "lease_token": token, "value": "v", "ttl_ms": MINUTE });
        let both = wait_for_processes(&service, 2);
        both.await;
        processes[1].post_once(&service.space, "/cache/fill", &fill).await.unwrap().assert(200);
    };
    let (answers, ()) = tokio::join!(waiting, filling);
    let values: Vec<Value> =
        answers.into_iter().map(|answer| answer.unwrap().body["value"].clone()).collect();
    assert!(values.iter().all(|value| value == "v"), "{values:?}");
}

/// Waits until so many processes wait for `k`.
async fn wait_for_processes(service: &Service, processes: u8) {
    let key = service.key("cache", "k");
    let mut redis = service.raw();
    let all_wait = async || {
        let count: Vec<u8> =
            redis::cmd("GETRANGE").arg(&key).arg(51).arg(51).query(&mut redis).unwrap();
        count.first().is_some_and(|count| *count >= processes)
    };
    wait_until("the processes", all_wait).await;
}
