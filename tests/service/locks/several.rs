//! Leases that are not alone: over several locks, shared, or by permits.

use serde_json::json;

use super::{acquire, queue_of, release};
use crate::support::{Service, race};

#[tokio::test(flavor = "multi_thread")]
async fn several_locks_are_acquired_together_or_not_at_all() {
    let service = Service::new();
    let lease = acquire(&service, json!({ "locks": ["b", "a"] })).await.assert(201);
    assert!(lease["lock"].is_null() && lease["fencing_token"].is_null());
    let locks: Vec<_> =
        lease["locks"].as_array().unwrap().iter().map(|lock| lock["lock"].clone()).collect();
    assert_eq!(locks, ["a", "b"]);
    let before = service.snapshot();
    // In the order of their names, the held one is the first or the last.
    for locks in [["b", "c"], ["c", "a"], ["b", "A"], ["B", "a"]] {
        let refused = acquire(&service, json!({ "locks": locks })).await;
        let refused = refused.expect_problem(409, "lock_held");
        assert_eq!(refused["holders"][0]["owner"], "me");
        assert_eq!(refused["locks"].as_array().unwrap().len(), 2);
    }
    service.assert_unchanged(&before);
    let body = json!({ "locks": ["a", "b"], "lease_id": lease["lease_id"], "ttl_ms": 90_000 });
    let renewed = service.post("/locks/renew", body).await.assert(200);
    assert_eq!((&renewed["locks"], &renewed["expires_in_ms"]), (&lease["locks"], &json!(90_000)));
    let body = json!({ "locks": ["a", "b"], "lease_id": lease["lease_id"] });
    let released = service.post("/locks/release", body.clone()).await.assert(200);
    assert_eq!(released["locks"], json!(["a", "b"]));
    assert_eq!(service.post("/locks/release", body).await.assert(200), released);
    acquire(&service, json!({ "locks": ["c", "a"] })).await.assert(201);
}

#[tokio::test]
async fn a_lease_over_several_locks_is_one() {
    let service = Service::new();
    let lease = acquire(&service, json!({ "locks": ["a", "b", "c"] })).await.assert(201);
    let id = &lease["lease_id"];
    let before = service.snapshot();
    for (path, ttl) in [("/locks/release", None), ("/locks/renew", Some(1000))] {
        for locks in [json!({ "lock": "a" }), json!({ "locks": ["a", "b"] })] {
            let mut body = locks.clone();
            body["lease_id"] = id.clone();
            if let Some(ttl) = ttl {
                body["ttl_ms"] = ttl.into();
            }
            let refused =
                service.post(path, body).await.expect_problem(422, "lease_locks_mismatch");
            assert_eq!(refused["required"], 3);
        }
    }
    service.assert_unchanged(&before);
    let body = json!({ "lock": "b", "reason": "stuck" });
    service.post("/locks/break", body).await.assert(200);
    let all = json!({ "locks": ["c", "b", "a"], "lease_id": id, "ttl_ms": 1000 });
    let refused = service.post("/locks/renew", all).await.expect_problem(410, "lease_expired");
    assert_eq!((&refused["lock"], &refused["reason"]), (&json!("b"), &json!("stuck")));
    let all = json!({ "locks": ["c", "b", "a"], "lease_id": id });
    let released = service.post("/locks/release", all).await.assert(200);
    assert_eq!((&released["locks"], &released["lost"]), (&json!(["a", "c"]), &json!(["b"])));
}

#[tokio::test]
async fn names_of_several_locks_are_checked() {
    let service = Service::new();
    for (locks, code, pointer) in [
        (json!([]), "validation_failed", "/locks"),
        (json!(["a"]), "validation_failed", "/locks"),
        (json!(["a", "b", "a"]), "validation_failed", "/locks/2"),
        (json!(["a", "renew"]), "invalid_id", "/locks/1"),
        (json!((0..33).map(|n| n.to_string()).collect::<Vec<_>>()), "validation_failed", "/locks"),
    ] {
        let refused = acquire(&service, json!({ "locks": locks })).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
    let none = json!({ "owner": "me" });
    service.post("/locks", none).await.expect_problem(422, "validation_failed");
    let most: Vec<_> = (0..32).map(|n| n.to_string()).collect();
    acquire(&service, json!({ "locks": most })).await.assert(201);
}

/// Callers of overlapping sets of locks in any order: nobody waits for ever, and nobody is inside twice.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_deadlock() {
    let service = Service::new();
    let sets = [["a", "b"], ["b", "a"], ["b", "c"], ["c", "a"]];
    let done = race(12, |task| {
        let service = service.clone();
        async move {
            for _ in 0..4 {
                let locks = sets[task % 4];
                let lease = acquire(&service, json!({ "locks": locks, "wait_ms": 25_000 })).await;
                let lease = lease.assert(201);
                let body = json!({ "locks": locks, "lease_id": lease["lease_id"] });
                service.post("/locks/release", body).await.assert(200);
            }
        }
    });
    done.await;
    for lock in ["a", "b", "c"] {
        assert_eq!(queue_of(&service, lock, 0).await["held"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn permits_are_counted() {
    let service = Service::new();
    let permit = |number: usize| {
        acquire(&service, json!({ "mode": "permit", "permits": 3, "owner": format!("w{number}") }))
    };
    let answers = race(10, permit).await;
    assert_eq!((answers.count(201), answers.count_code("lock_held")), (3, 7));
    let before = service.snapshot();
    for permits in [2, 4] {
        let other = acquire(&service, json!({ "mode": "permit", "permits": permits })).await;
        let refused = other.expect_problem(422, "permits_mismatch");
        assert_eq!((&refused["required"], &refused["permits"]), (&json!(3), &json!(permits)));
    }
    acquire(&service, json!({})).await.expect_problem(409, "lock_held");
    acquire(&service, json!({ "mode": "shared" })).await.expect_problem(409, "lock_held");
    service.assert_unchanged(&before);
    let seen = service.get("/locks/l").await.assert(200);
    assert_eq!((&seen["permits"], &seen["holder_count"]), (&json!(3), &json!(3)));
    let waiting = race(2, |n| {
        acquire(
            &service,
            json!({ "mode": "permit", "permits": 3, "owner": format!("late{n}"), "wait_ms": 20_000 }),
        )
    });
    queue_of(&service, "l", 2).await;
    for answer in answers.iter().filter(|answer| answer.status == 201).take(2) {
        release(&service, "l", &answer.body["lease_id"]).await.assert(200);
    }
    assert_eq!(waiting.await.count(201), 2);
}

#[tokio::test]
async fn a_refusal_tells_when_the_lock_is_free_for_that_mode() {
    let service = Service::new();
    let permit = |ttl_ms: u32| {
        acquire(&service, json!({ "mode": "permit", "permits": 2, "ttl_ms": ttl_ms }))
    };
    permit(86_400_000).await.assert(201);
    permit(3_600_000).await.assert(201);
    // A permit is free with the first lease that ends, the whole lock with the last.
    let refused = permit(1000).await.expect_problem(409, "lock_held");
    assert!((3_000_000..=3_600_000).contains(&refused["retry_after_ms"].as_u64().unwrap()));
    let refused = acquire(&service, json!({})).await.expect_problem(409, "lock_held");
    assert!((86_000_000..=86_400_000).contains(&refused["retry_after_ms"].as_u64().unwrap()));
}

#[tokio::test]
async fn a_shared_lock_has_no_more_holders_than_fit_its_record() {
    let service = Service::new();
    let answers = race(1010, |_| acquire(&service, json!({ "mode": "shared" }))).await;
    assert_eq!((answers.count(201), answers.count_code("lock_held")), (1000, 10));
    let seen = service.get("/locks/l").await.assert(200);
    assert_eq!(
        (&seen["holder_count"], &seen["holders"].as_array().unwrap().len()),
        (&json!(1000), &20)
    );
}
