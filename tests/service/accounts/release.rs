use serde_json::json;

use crate::{audit::Audit, support::Service};

#[tokio::test]
async fn makes_the_held_money_available_again() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let hold_id = service.held("alice", "hotel", "60").await;
    service.capture(&hold_id, Some("10"), false).await.assert(201);
    let body = service.release(&hold_id).await.assert(200);
    assert_eq!(
        [&body["status"], &body["captured"], &body["released"], &body["remaining"]],
        ["released", "10.00", "50.00", "0.00"]
    );
    assert_eq!(body["available"], "90.00");
    assert_eq!(service.funds("alice").await, ["90.00", "90.00", "0.00"]);
    let set: u64 = redis::cmd("EXISTS")
        .arg(service.key("account_holds", "alice"))
        .query(&mut service.raw())
        .unwrap();
    assert_eq!(set, 0, "nothing is left of the set");
    Audit::default().check(&service);
}

#[tokio::test]
async fn refuses_one_that_has_ended() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let hold_id = service.held("alice", "hotel", "60").await;
    service.release(&hold_id).await.assert(200);
    let before = service.snapshot();
    let refused = service.release(&hold_id).await.expect_problem(409, "hold_closed");
    assert_eq!(refused["detail"], format!("The hold {hold_id} is released already."));
    service.release("hold_none").await.expect_problem(404, "hold_not_found");
    service.assert_unchanged(&before);

    let hold_id = service.held("alice", "hotel", "60").await;
    service.advance_ms(3_600_000);
    let refused = service.release(&hold_id).await.expect_problem(409, "hold_expired");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains(refused["expired_at"].as_str().unwrap()), "{detail}");
}

#[tokio::test]
async fn a_frozen_account_can_release_its_holds() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let hold_id = service.held("alice", "hotel", "60").await;
    service.freeze("alice", "both").await;
    service.release(&hold_id).await.assert(200);
    assert_eq!(service.funds("alice").await, ["100.00", "100.00", "0.00"]);
}

#[tokio::test]
async fn refuses_bad_input() {
    let service = Service::new();
    let refused = service.release("{hold}").await.expect_problem(422, "invalid_id");
    assert_eq!(refused["errors"][0]["pointer"], "/hold_id");
    let body = json!({ "hold_id": "hold_1", "amount": "1" });
    service.post("/accounts/release", body).await.expect_problem(422, "unknown_field");
}
