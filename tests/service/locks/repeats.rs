//! An acquire under an idempotency key: one lease however often it is sent, and never one that is none.

use serde_json::json;

use super::{acquire, queue_of, release};
use crate::{
    idempotency::lossy,
    support::{Service, race},
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

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sends_under_one_key_get_one_lease() {
    let service = Service::new();
    let holder = acquire(&service, json!({})).await.assert(201);
    let sends = race(16, |_| acquire(&service, json!({ "wait_ms": 20_000 })).key("k"));
    queue_of(&service, "l", 16).await;
    release(&service, "l", &holder["lease_id"]).await.assert(200);
    let answers = sends.await;
    assert_eq!((answers.count(201), answers.replayed()), (16, 15));
    assert!(answers.iter().all(|answer| answer.body["lease_id"] == answers[0].body["lease_id"]));
    let seen = queue_of(&service, "l", 0).await;
    assert_eq!(seen["holder_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_lost_after_the_grant_is_no_second_hold() {
    let direct = Service::new();
    acquire(&direct, json!({ "lock": "warm" })).await.assert(201);
    let port = lossy(1).await;
    let mut service = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{port}");
        settings.batch_workers = 1;
    });
    service.space.clone_from(&direct.space);
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
