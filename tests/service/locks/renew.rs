use serde_json::{Value, json};

use crate::support::{Call, Service};

fn renew(service: &Service, lock: &str, lease_id: &Value, ttl_ms: u64) -> Call {
    let body = json!({ "lock": lock, "lease_id": lease_id, "ttl_ms": ttl_ms });
    service.post("/locks/renew", body)
}

#[tokio::test]
async fn extends_the_lease_and_keeps_the_token() {
    let service = Service::new();
    let lease = service.acquire("l", "me", 86_400_000).await.assert(201);
    let renewed = renew(&service, "l", &lease["lease_id"], 172_800_000).await.assert(200);
    assert_eq!(renewed["expires_in_ms"], 172_800_000);
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    assert_eq!(renewed["lease_id"], lease["lease_id"]);
    service.advance_ms(86_400_000);
    service.acquire("l", "you", 1000).await.expect_problem(409, "lock_held");
}

#[tokio::test]
async fn refuses_expired_and_other_leases() {
    let service = Service::new();
    let lease = service.acquire("l", "me", 86_400_000).await.assert(201);
    renew(&service, "l", &json!("lease_of_somebody_else"), 1000)
        .await
        .expect_problem(403, "lease_not_owner");
    renew(&service, "other", &lease["lease_id"], 1000).await.expect_problem(403, "lease_not_owner");
    service.advance_ms(86_400_000);
    let before = service.snapshot();
    let refused =
        renew(&service, "l", &lease["lease_id"], 1000).await.expect_problem(410, "lease_expired");
    assert_eq!(refused["expired_at"], lease["expires_at"]);
    service.assert_unchanged(&before);
    service.acquire("l", "you", 60_000).await.assert(201);
    renew(&service, "l", &lease["lease_id"], 1000).await.expect_problem(410, "lease_expired");
}

#[tokio::test]
async fn refuses_a_part_of_the_locks_of_a_lease() {
    let service = Service::new();
    let lease = super::acquire(&service, json!({ "locks": ["a", "b"] })).await.assert(201);
    let before = service.snapshot();
    renew(&service, "a", &lease["lease_id"], 1000)
        .await
        .expect_problem(422, "lease_locks_mismatch");
    service.assert_unchanged(&before);
}
