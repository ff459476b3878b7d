//! `locks/withdraw`: a lease that nobody has learned of does not stay, and a place in a queue is given up.

use std::time::Duration;

use redis::Commands;
use serde_json::json;

use super::{acquire, acquire_step};
use crate::{
    idempotency::losing_replies,
    support::{Service, run_step_at},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_nobody_learned_of_is_given_back() {
    let direct = Service::new();
    acquire(&direct, json!({ "lock": "warm" })).await.assert(201);
    // Each connection answers one script and loses the reply of the next.
    let service = losing_replies(&direct, 1).await;
    let mut lost = 0;
    for number in 0..10 {
        let lock = format!("l{number}");
        let answer = acquire(&service, json!({ "lock": lock })).await;
        if answer.status == 201 {
            continue;
        }
        answer.expect_problem(504, "outcome_unknown");
        lost += 1;
        let next = json!({ "lock": lock, "owner": "you", "wait_ms": 20_000 });
        acquire(&direct, next).await.assert(201);
    }
    assert!(lost > 0, "no reply was lost");
}

/// Whoever leaves the queue wakes the next in line, and nobody if others stand before it.
#[tokio::test]
async fn only_the_next_in_line_is_told_that_the_first_has_left() {
    let service = Service::new();
    // The names of processes are seen by all spaces.
    let process = format!("{:x}", fastrand::u64(..));
    let channel = format!("lockstep:process:{process}");
    let (mut subscribed, mut redis) = (service.raw(), service.raw());
    let mut messages = subscribed.as_pubsub();
    messages.subscribe(&channel).unwrap();
    messages.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

    let waiter = |number: u64| format!("{process}:{number}:e:\"me\"");
    let now_ms = 1_795_000_000_000;
    for number in 0..4 {
        let (keys, args) = acquire_step(&service, &waiter(number), "");
        run_step_at(&mut redis, now_ms, "locks/acquire", &keys, &args);
    }
    let kinds = [("processes", "locks"), ("lock", "l"), ("lock_queue", "l")];
    let keys = kinds.map(|(kind, id)| service.key(kind, id));
    let mut told_after_leaving = |number: u64| -> String {
        run_step_at(&mut redis, now_ms, "locks/withdraw", &keys, &["none".into(), waiter(number)]);
        let () = redis.publish(&channel, "nothing").unwrap();
        messages.get_message().unwrap().get_payload().unwrap()
    };
    // The first holds the lock, and three others wait.
    assert_eq!(told_after_leaving(2), "nothing");
    assert_eq!(told_after_leaving(1), "3 60000");
}
