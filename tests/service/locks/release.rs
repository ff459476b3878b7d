use serde_json::json;

use super::release;
use crate::support::{Service, race};

#[tokio::test]
async fn releases_the_lock_and_answers_a_repeat_the_same() {
    let service = Service::new();
    let lease = service.acquire("l", "me", 60_000).await.assert(201);
    let released = release(&service, "l", &lease["lease_id"]).await.assert(200);
    assert_eq!(released, json!({ "lock": "l", "lease_id": lease["lease_id"], "released": true }));
    let other = service.acquire("l", "you", 60_000).await.assert(201);
    assert_eq!(release(&service, "l", &lease["lease_id"]).await.assert(200), released);
    // A release of another lock is no repeat.
    release(&service, "m", &lease["lease_id"]).await.expect_problem(403, "lease_not_owner");
    let seen = service.get("/locks/l").await.assert(200);
    assert_eq!(
        seen["holders"][0]["fencing_token"], other["fencing_token"],
        "the repeat frees nothing"
    );
}

#[tokio::test]
async fn refuses_other_leases_and_expired_ones() {
    let service = Service::new();
    let lease = service.acquire("l", "me", 86_400_000).await.assert(201);
    let before = service.snapshot();
    release(&service, "l", &json!("lease_x")).await.expect_problem(403, "lease_not_owner");
    release(&service, "other", &lease["lease_id"]).await.expect_problem(403, "lease_not_owner");
    release(&service, "l", &json!("")).await.expect_problem(422, "invalid_id");
    service.assert_unchanged(&before);
    service.advance_ms(86_400_000);
    release(&service, "l", &lease["lease_id"]).await.expect_problem(410, "lease_expired");
    service.acquire("l", "you", 60_000).await.assert(201);
    release(&service, "l", &lease["lease_id"]).await.expect_problem(410, "lease_expired");
}

/// The holder of the lock is alone in the critical section; nobody else can release the lock.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_holders_exclude_each_other() {
    let service = Service::new();
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    race(16, |task| {
        let (service, inside) = (service.clone(), inside.clone());
        async move {
            let mut taken = 0;
            while taken < 5 {
                let answer = service.acquire("l", &format!("w{task}"), 60_000).await;
                if answer.status.as_u16() != 201 {
                    tokio::task::yield_now().await;
                    continue;
                }
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                assert_eq!(inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst), 1);
                release(&service, "l", &answer.body["lease_id"]).await.assert(200);
                taken += 1;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn refuses_a_part_of_the_locks_of_a_lease() {
    let service = Service::new();
    let lease = super::acquire(&service, json!({ "locks": ["a", "b"] })).await.assert(201);
    let before = service.snapshot();
    release(&service, "a", &lease["lease_id"]).await.expect_problem(422, "lease_locks_mismatch");
    service.assert_unchanged(&before);
}
