use serde_json::json;

use crate::{
    audit::Audit,
    support::{Call, Service},
};

fn extend(service: &Service, hold_id: &str, ttl_ms: u64) -> Call {
    let body = json!({ "hold_id": hold_id, "ttl_ms": ttl_ms });
    service.post("/accounts/extend", body)
}

#[tokio::test]
async fn moves_the_expiry_later() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let hold_id = service.held("alice", "hotel", "60").await;
    service.advance_ms(3_000_000);
    let body = extend(&service, &hold_id, 3_600_000).await.assert(200);
    assert_eq!((&body["status"], &body["available"]), (&json!("open"), &json!("40.00")));
    Audit::default().check(&service);
    service.advance_ms(3_000_000);
    assert_eq!(service.funds("alice").await, ["100.00", "40.00", "60.00"]);
    service.advance_ms(600_000);
    assert_eq!(service.funds("alice").await, ["100.00", "100.00", "0.00"]);
}

#[tokio::test]
async fn never_moves_the_expiry_earlier() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let before = service.hold("alice", "hotel", "60", 3_600_000).await.assert(201);
    let hold_id = before["hold_id"].as_str().unwrap();
    let after = extend(&service, hold_id, 1).await.assert(200);
    assert_eq!(after["expires_at"], before["expires_at"]);
}

#[tokio::test]
async fn refuses_one_that_has_ended() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let one = service.held("alice", "hotel", "1").await;
    service.release(&one).await.assert(200);
    extend(&service, &one, 1000).await.expect_problem(409, "hold_closed");
    extend(&service, "hold_none", 1000).await.expect_problem(404, "hold_not_found");
    let one = service.held("alice", "hotel", "1").await;
    service.advance_ms(3_600_000);
    let before = service.snapshot();
    extend(&service, &one, 1000).await.expect_problem(409, "hold_expired");
    let refused = extend(&service, &one, 0).await.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/ttl_ms");
    service.assert_unchanged(&before);
}
