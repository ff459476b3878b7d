use serde_json::json;

use super::{acquire, queue_of, release};
use crate::support::Service;

#[tokio::test(flavor = "multi_thread")]
async fn takes_the_lock_from_its_holder_and_says_why() {
    let service = Service::new();
    let first = acquire(&service, json!({})).await.assert(201);
    let body = json!({ "owner": "you", "wait_ms": 20_000 });
    let waiting = tokio::spawn(acquire(&service, body).into_future());
    queue_of(&service, "l", 1).await;
    let body = json!({ "lock": "l", "reason": "it \"hangs\"" });
    let broken = service.post("/locks/break", body).await.assert(200);
    assert_eq!(broken["broken"][0]["owner"], "me");
    assert!(broken["last_fencing_token"].as_u64() > first["fencing_token"].as_u64());
    let second = waiting.await.unwrap().assert(201);
    assert!(second["fencing_token"].as_u64() > broken["last_fencing_token"].as_u64());
    let body = json!({ "lock": "l", "lease_id": first["lease_id"], "ttl_ms": 1000 });
    let refused = service.post("/locks/renew", body).await.expect_problem(410, "lease_expired");
    assert_eq!(refused["reason"], "it \"hangs\"");
    release(&service, "l", &first["lease_id"]).await.expect_problem(410, "lease_expired");
    release(&service, "l", &second["lease_id"]).await.assert(200);
}

#[tokio::test]
async fn moves_the_token_of_a_free_lock_too() {
    let service = Service::new();
    let body = json!({ "lock": "l", "reason": "maintenance" });
    let broken = service.post("/locks/break", body).await.assert(200);
    assert_eq!(broken["broken"], json!([]));
    let lease = acquire(&service, json!({})).await.assert(201);
    assert!(lease["fencing_token"].as_u64() > broken["last_fencing_token"].as_u64());
}

#[tokio::test]
async fn the_last_sixteen_who_lost_a_lock_are_told() {
    let service = Service::new();
    let mut leases = Vec::new();
    for _ in 0..20 {
        leases.push(acquire(&service, json!({})).await.assert(201)["lease_id"].clone());
        let body = json!({ "lock": "l", "reason": "drill" });
        service.post("/locks/break", body).await.assert(200);
    }
    for (number, lease) in leases.iter().enumerate() {
        let answer = release(&service, "l", lease).await;
        match number {
            0..4 => answer.expect_problem(403, "lease_not_owner"),
            _ => answer.expect_problem(410, "lease_expired"),
        };
    }
}

#[tokio::test]
async fn refuses_invalid_input() {
    let service = Service::new();
    for (body, code) in [
        (json!({ "lock": "l" }), "validation_failed"),
        (json!({ "lock": "l", "reason": "" }), "validation_failed"),
        (json!({ "lock": "break", "reason": "x" }), "invalid_id"),
        (json!({ "lock": "l", "reason": "x", "force": true }), "unknown_field"),
    ] {
        service.post("/locks/break", body).await.expect_problem(422, code);
    }
    assert!(service.snapshot().is_empty());
}
