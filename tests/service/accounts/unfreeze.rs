use serde_json::json;

use crate::support::{Call, Service, assert_if_match};

fn unfreeze(service: &Service, account: &str, direction: &str) -> Call {
    let body = json!({ "account_id": account, "direction": direction });
    service.post("/accounts/unfreeze", body)
}

#[tokio::test]
async fn unfreezes_one_direction_or_both() {
    let one = Service::new();
    for (frozen, direction, left) in [
        ("both", "debits", json!("credits")),
        ("both", "credits", json!("debits")),
        ("both", "both", json!(null)),
        ("debits", "debits", json!(null)),
        ("debits", "credits", json!("debits")),
        ("credits", "debits", json!("credits")),
        ("credits", "both", json!(null)),
    ] {
        let service = one.in_new_space();
        service.open("alice", "100").await;
        service.freeze("alice", frozen).await;
        let body = unfreeze(&service, "alice", direction).await.assert(200);
        assert_eq!(body["frozen"], left, "{frozen} without {direction}");
        let status = if left.is_null() { "open" } else { "frozen" };
        assert_eq!(body["status"], status);
        let status = service.withdraw("alice", "1").await.status.as_u16();
        assert_eq!(status, if left == "debits" { 409 } else { 201 });
    }
}

#[tokio::test]
async fn unfreezing_an_open_account_changes_nothing() {
    let service = Service::new();
    service.open("alice", "1").await;
    let before = service.snapshot();
    unfreeze(&service, "alice", "both").await.assert(200);
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_an_unknown_or_closed_account() {
    let service = Service::new();
    service.open("closed", "0").await;
    service.close("closed").await.assert(200);
    let before = service.snapshot();
    unfreeze(&service, "nobody", "both").await.expect_problem(404, "account_not_found");
    unfreeze(&service, "closed", "both").await.expect_problem(409, "account_closed");
    unfreeze(&service, "closed", "up").await.expect_problem(422, "validation_failed");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn if_match_needs_the_current_version() {
    let service = Service::new();
    service.open("alice", "0").await;
    service.freeze("alice", "debits").await;
    let change = service.post("/accounts/unfreeze", json!({ "account_id": "alice" }));
    assert_if_match(&service, 1, change).await;
}
