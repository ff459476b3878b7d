//! An acquire under an idempotency key: one lease however often it is sent, and never one that is none.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{acquire, queue_of, release};
use crate::{
    idempotency::losing_replies,
    support::{Service, race, wait_until},
};

#[tokio::test]
async fn a_repeat_answers_the_same_lease_while_it_lasts() {
    let service = Service::new();
    let call = || acquire(&service, json!({ "ttl_ms": 86_400_000 })).key("k");
    let lease = call().await.assert(201);
    service.advance_ms(80_000_000);
    let again = call().await;
    assert!(again.replayed());
    let again = again.assert(201);
    assert_eq!(
        (&again["lease_id"], &again["fencing_token"]),
        (&lease["lease_id"], &lease["fencing_token"])
    );
    assert_eq!(again["expires_at"], lease["expires_at"]);
    assert!(again["expires_in_ms"].as_u64().unwrap() <= 6_400_000, "it tells what is left");
    service.advance_ms(6_400_000);
    for _ in 0..2 {
        let ended = call().await;
        assert!(ended.replayed());
        assert_eq!(ended.expect_problem(410, "lease_expired")["lease_id"], lease["lease_id"]);
    }
    acquire(&service, json!({})).await.assert(201);
    call().await.expect_problem(410, "lease_expired");
}

#[tokio::test]
async fn a_repeat_after_the_release_is_no_lease() {
    let service = Service::new();
    let call = || acquire(&service, json!({ "locks": ["a", "b"] })).key("k");
    let lease = call().await.assert(201);
    assert_eq!(call().await.assert(201)["locks"], lease["locks"]);
    let body = json!({ "locks": ["a", "b"], "lease_id": lease["lease_id"] });
    service.post("/locks/release", body).await.assert(200);
    call().await.expect_problem(410, "lease_expired");
    // The order of the names makes no other call.
    let turned = acquire(&service, json!({ "locks": ["b", "a"] })).key("k").await;
    turned.expect_problem(410, "lease_expired");
    let other = acquire(&service, json!({ "locks": ["b", "c"] })).key("k").await;
    other.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_refusal_is_answered_again() {
    let service = Service::new();
    let holder = acquire(&service, json!({})).await.assert(201);
    for body in [json!({}), json!({ "wait_ms": 100 })] {
        let key = body.to_string().len().to_string();
        let first = acquire(&service, body.clone()).key(&key).await;
        let code = first.body["code"].as_str().unwrap().to_owned();
        assert_eq!(first.status, 409);
        let again = acquire(&service, body).key(&key).await;
        assert!(again.replayed());
        again.expect_problem(409, &code);
    }
    release(&service, "l", &holder["lease_id"]).await.assert(200);
    let again = acquire(&service, json!({})).key("2").await;
    assert!(again.replayed());
    again.expect_problem(409, "lock_held");
}

/// In two processes, as behind a gateway that repeats calls. All are answered once one of them is: none waits until
/// its own wait is over, or until the lease ends.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sends_under_one_key_get_one_lease() {
    let service = Service::new();
    let services = [service.clone(), Service::new().in_space(&service.space)];
    let holder = acquire(&service, json!({})).await.assert(201);
    let wait = json!({ "wait_ms": 25_000 });
    let sends = race(16, |task| acquire(&services[task % 2], wait.clone()).key("k"));
    queue_of(&service, "l", 16).await;
    // One under another key, and one without, wait on.
    let others = race(2, |task| match task {
        0 => acquire(&service, wait.clone()).key("other"),
        _ => acquire(&service, wait.clone()),
    });
    queue_of(&service, "l", 18).await;
    let released = Instant::now();
    release(&service, "l", &holder["lease_id"]).await.assert(200);
    let answers = sends.await;
    assert!(released.elapsed() < Duration::from_secs(12), "{:?}", released.elapsed());
    assert_eq!((answers.count(201), answers.replayed()), (16, 15));
    assert!(answers.iter().all(|answer| answer.body["lease_id"] == answers[0].body["lease_id"]));
    let seen = queue_of(&service, "l", 2).await;
    assert_eq!(seen["holder_count"], 1);
    let body = json!({ "lock": "l", "reason": "the test ends" });
    service.post("/locks/break", body.clone()).await.assert(200);
    queue_of(&service, "l", 1).await;
    service.post("/locks/break", body).await.assert(200);
    assert_eq!(others.await.count(201), 2);
}

/// The second is answered with the refusal of the first, which came earlier, and not after a wait of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_waits_is_answered_with_the_refusal_of_the_first() {
    let service = Service::new();
    let other = Service::new().in_space(&service.space);
    acquire(&service, json!({})).await.assert(201);
    let wait = json!({ "owner": "you", "wait_ms": 4000 });
    let first = tokio::spawn(acquire(&service, wait.clone()).key("k").into_future());
    let has_waited =
        async || queue_of(&service, "l", 1).await["queue"][0]["waiting_ms"].as_u64() >= Some(2000);
    wait_until("half of the wait", has_waited).await;
    let started = Instant::now();
    let second = acquire(&other, wait).key("k").await;
    assert!(started.elapsed() < Duration::from_millis(4000), "{:?}", started.elapsed());
    assert!(second.replayed());
    let refused = first.await.unwrap().expect_problem(409, "lock_wait_timeout");
    let replayed = second.expect_problem(409, "lock_wait_timeout");
    assert_eq!(replayed["waited_ms"], refused["waited_ms"]);
    queue_of(&service, "l", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_lost_after_the_grant_is_no_second_hold() {
    let direct = Service::new();
    acquire(&direct, json!({ "lock": "warm" })).await.assert(201);
    let service = losing_replies(&direct, 1).await;
    for number in 0..10 {
        let lock = format!("l{number}");
        let lease = acquire(&service, json!({ "lock": lock })).key(&lock).await.assert(201);
        let seen = direct.get(&format!("/locks/{lock}")).await.assert(200);
        assert_eq!(
            (&seen["holder_count"], &seen["last_fencing_token"]),
            (&json!(1), &lease["fencing_token"])
        );
    }
}

/// A call that waits while each connection to Redis loses its second reply, whatever that is about.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_with_lost_replies_ends_with_one_lease_or_none() {
    let direct = Service::new();
    let service = losing_replies(&direct, 1).await;
    for number in 0..12 {
        let lock = format!("l{number}");
        let holder = acquire(&direct, json!({ "lock": lock })).await.assert(201);
        let body = json!({ "lock": lock, "owner": "you", "wait_ms": 20_000 });
        let call = acquire(&service, body);
        let is_keyed = number % 2 == 0;
        let call = if is_keyed { call.key(&lock) } else { call };
        let waiting = tokio::spawn(call.into_future());
        // Without a key the reply to the first try may be the one that is lost.
        while !waiting.is_finished()
            && direct.get(&format!("/locks/{lock}")).await.assert(200)["queue_length"] == 0
        {
        }
        release(&direct, &lock, &holder["lease_id"]).await.assert(200);
        let answer = waiting.await.unwrap();
        if answer.status == 201 {
            let seen = queue_of(&direct, &lock, 0).await;
            assert_eq!(
                (&seen["holder_count"], &seen["last_fencing_token"]),
                (&json!(1), &answer.body["fencing_token"])
            );
            release(&direct, &lock, &answer.body["lease_id"]).await.assert(200);
        } else {
            assert!(!is_keyed);
            answer.expect_problem(504, "outcome_unknown");
        }
        let next = json!({ "lock": lock, "owner": "next", "wait_ms": 20_000 });
        acquire(&direct, next).await.assert(201);
    }
}

/// The caller has gone, and its repeat is entitled to the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_under_a_key_stays_for_the_repeat() {
    let service = Service::new();
    for polls in 0..40 {
        let body = json!({ "lock": format!("l{polls}"), "wait_ms": 1000 });
        let mut call =
            Box::pin(acquire(&service, body.clone()).key(format!("k{polls}")).into_future());
        for _ in 0..polls {
            if futures_util::poll!(&mut call).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        acquire(&service, body).key(format!("k{polls}")).await.assert(201);
    }
}
