//! Waiters of processes that have gone.

use std::time::{Duration, Instant};

use redis::Commands;
use serde_json::json;

use super::{acquire, acquire_step, queue_of, release};
use crate::support::{Server, Service, race, wait_until};

/// Puts waiters in the queue of the lock `l`, in turn of so many processes that were heard of a moment ago and never
/// again.
fn enqueue_dead(service: &Service, count: u64, processes: u64) {
    let mut redis = service.raw();
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query(&mut redis).unwrap();
    let now = (seconds * 1_000_000 + micros) / 1000;
    let heard: Vec<_> = (0..processes).map(|process| (now, format!("dead{process:x}"))).collect();
    let waiters: Vec<_> = (0..count)
        .map(|number| (number + 1, format!("dead{:x}:{number}:e:\"gone\"", number % processes)))
        .collect();
    redis::pipe()
        .atomic()
        .zadd_multiple(service.key("processes", "locks"), &heard)
        .zadd_multiple(service.key("lock_queue", "l"), &waiters)
        .exec(&mut redis)
        .unwrap();
}

/// However many have gone, and of however many processes, the next living one is delayed by less than 2 seconds in all.
#[tokio::test(flavor = "multi_thread")]
async fn waiters_who_have_gone_are_passed_over_together() {
    for (count, processes) in [(1, 1), (10, 10), (100, 1), (100, 100), (3000, 3)] {
        let service = Service::new();
        let first = acquire(&service, json!({})).await.assert(201);
        let body = json!({ "owner": "alive", "wait_ms": 25_000 });
        let living = tokio::spawn(acquire(&service, body).into_future());
        queue_of(&service, "l", 1).await;
        enqueue_dead(&service, count, processes);
        let started = Instant::now();
        release(&service, "l", &first["lease_id"]).await.assert(200);
        living.await.unwrap().assert(201);
        let delay = started.elapsed();
        assert!(delay > Duration::from_millis(500), "{count} in {delay:?}: nobody was waited for");
        assert!(delay < Duration::from_millis(2000), "{count} in {delay:?}");
    }
}

/// A process that was stopped for a while finds its waiters passed over, and puts them back.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_was_passed_over_comes_back_to_its_place() {
    let service = Service::new();
    let holder = acquire(&service, json!({})).await.assert(201);
    let wait = |owner: &str| {
        let body = json!({ "owner": owner, "wait_ms": 25_000 });
        tokio::spawn(acquire(&service, body).into_future())
    };
    let first = wait("first");
    queue_of(&service, "l", 1).await;
    let mut redis = service.raw();
    let queue = service.key("lock_queue", "l");
    let waiters: Vec<String> = redis.zrange(&queue, 0, -1).unwrap();
    let (process, _) = waiters[0].split_once(':').unwrap();
    let second = wait("second");
    queue_of(&service, "l", 2).await;
    // As if it had not been heard of for an hour, and another process had passed it over.
    redis::pipe()
        .atomic()
        .zadd(service.key("processes", "locks"), process, 1)
        .zrem(&queue, &waiters[0])
        .exec(&mut redis)
        .unwrap();
    let seen = queue_of(&service, "l", 2).await;
    assert_eq!(seen["queue"][0]["owner"], "first");
    release(&service, "l", &holder["lease_id"]).await.assert(200);
    let lease = first.await.unwrap().assert(201);
    release(&service, "l", &lease["lease_id"]).await.assert(200);
    second.await.unwrap().assert(201);
}

/// A process that was heard of lately has lost no place, so its waiters do not try again.
#[tokio::test(flavor = "multi_thread")]
async fn waiters_try_once_while_nothing_happens() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    acquire(&service, json!({})).await.assert(201);
    let waiting = race(2, |_| acquire(&service, json!({ "owner": "you", "wait_ms": 25_000 })));
    let mut connection = server.connection();
    let mut calls = async || {
        let info: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
        ["time", "zremrangebyscore"].map(|command| {
            let line = info.split_once(&format!("cmdstat_{command}:calls="));
            line.map_or(0, |(_, rest)| rest.split(',').next().unwrap().parse().unwrap())
        })
    };
    // A heartbeat asks for the time, and removes the processes that have gone; a try asks for the time alone.
    wait_until("ten heartbeats", async || calls().await[1] >= 10).await;
    let [times, heartbeats]: [u64; 2] = calls().await;
    // The tries of the holder and of two waiters, and another one of each waiter when the first heartbeat came. A heartbeat
    // that a busy machine delays has them try again.
    assert!((1..=8).contains(&(times - heartbeats)), "{times} {heartbeats}");
    drop(waiting);
}

/// One script has a new waiter, and then one that comes back to a place before it.
#[tokio::test]
async fn who_comes_back_stands_before_who_is_new() {
    let service = Service::new();
    let step = |waiter: &str, place: &str| acquire_step(&service, waiter, place);
    let holder = step("aa:1:e:\"holder\"", "");
    let (new, back) = (step("bb:1:e:\"new\"", ""), step("cc:1:e:\"back\"", "7"));
    let replies = service.run_steps("locks/acquire", &[holder, new, back]).unwrap();
    assert_eq!(replies.len(), 6);
    let waiting: Vec<String> = service.raw().zrange(service.key("lock_queue", "l"), 0, -1).unwrap();
    assert_eq!(waiting, ["cc:1:e:\"back\"", "bb:1:e:\"new\""]);
}

/// The record of a lock is lost, and its queue is not: nobody is forgotten or overtaken.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_get_on_when_the_record_of_the_lock_is_lost() {
    let service = Service::new();
    acquire(&service, json!({})).await.assert(201);
    let body = json!({ "owner": "you", "wait_ms": 25_000 });
    let waiting = tokio::spawn(acquire(&service, body).into_future());
    queue_of(&service, "l", 1).await;
    let () = service.raw().del(service.key("lock", "l")).unwrap();
    waiting.await.unwrap().assert(201);
    queue_of(&service, "l", 0).await;
}

/// The record of one of two locks that a call waits for is lost. The call is still the first in the queue of both.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_overtakes_those_who_wait_when_the_record_of_the_lock_is_lost() {
    let service = Service::new();
    let holder = acquire(&service, json!({ "lock": "b" })).await.assert(201);
    acquire(&service, json!({ "lock": "a", "ttl_ms": 1 })).await.assert(201);
    let body = json!({ "locks": ["a", "b"], "owner": "you", "wait_ms": 25_000 });
    let waiting = tokio::spawn(acquire(&service, body).into_future());
    queue_of(&service, "b", 1).await;
    let (key, mut redis) = (service.key("lock", "a"), service.raw());
    let () = redis.del(&key).unwrap();
    // The next heartbeat writes it anew.
    let started = Instant::now();
    while !redis.exists::<_, bool>(&key).unwrap() {
        assert!(started.elapsed() < Duration::from_secs(20), "no heartbeat has written the record");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = acquire(&service, json!({ "lock": "a" })).await;
    assert_eq!(refused.expect_problem(409, "lock_held")["queue_length"], 1);
    release(&service, "b", &holder["lease_id"]).await.assert(200);
    waiting.await.unwrap().assert(201);
}

/// The caller goes away right after the record of one of its two locks was lost, so before a heartbeat can write it anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_a_queue_whose_record_is_lost() {
    let service = Service::new();
    acquire(&service, json!({ "lock": "b" })).await.assert(201);
    let body = json!({ "locks": ["a", "b"], "owner": "gone", "wait_ms": 25_000 });
    let gone = tokio::spawn(acquire(&service, body).into_future());
    queue_of(&service, "a", 1).await;
    let () = service.raw().del(service.key("lock", "a")).unwrap();
    gone.abort();
    queue_of(&service, "a", 0).await;
    queue_of(&service, "b", 0).await;
    acquire(&service, json!({ "lock": "a" })).await.assert(201);
}
