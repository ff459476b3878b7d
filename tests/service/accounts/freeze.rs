use serde_json::json;

use crate::support::{Call, Service, assert_if_match};

fn freeze(service: &Service, account: &str, direction: &str) -> Call {
    let body = json!({ "account_id": account, "direction": direction });
    service.post("/accounts/freeze", body)
}

async fn with_alice_and_bob() -> Service {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "100").await;
    service
}

#[tokio::test]
async fn stops_one_direction_or_both() {
    let service = with_alice_and_bob().await;
    for (direction, gives, takes) in
        [("debits", false, true), ("credits", true, false), ("both", false, false)]
    {
        let service = service.in_new_space();
        service.open("alice", "100").await;
        service.open("bob", "100").await;
        let body = freeze(&service, "alice", direction).await.assert(200);
        assert_eq!((&body["status"], &body["frozen"]), (&json!("frozen"), &json!(direction)));
        let before = service.snapshot();
        for (path, may) in [("/accounts/withdraw", gives), ("/accounts/deposit", takes)] {
            let body = json!({ "account_id": "alice", "amount": "1" });
            if !may {
                let refused = service.post(path, body).await.expect_problem(409, "account_frozen");
                assert_eq!(refused["role"], "account_id");
            }
        }
        if !gives {
            let refused = service.transfer("alice", "bob", "1").await;
            let refused = refused.expect_problem(409, "account_frozen");
            assert_eq!(refused["detail"], "The account alice (from_account) is frozen for debits.");
        }
        if !takes {
            let refused = service.transfer("bob", "alice", "1").await;
            let refused = refused.expect_problem(409, "account_frozen");
            assert_eq!(refused["role"], "to_account");
        }
        service.assert_unchanged(&before);
        if gives {
            service.transfer("alice", "bob", "1").await.assert(201);
        }
        if takes {
            service.transfer("bob", "alice", "1").await.assert(201);
        }
    }
}

#[tokio::test]
async fn freezing_one_direction_and_then_the_other_freezes_both() {
    let service = with_alice_and_bob().await;
    freeze(&service, "alice", "debits").await.assert(200);
    assert_eq!(freeze(&service, "alice", "credits").await.assert(200)["frozen"], "both");
    let before = service.snapshot();
    // Freezing a frozen account changes nothing, not even the version.
    assert_eq!(freeze(&service, "alice", "debits").await.assert(200)["frozen"], "both");
    let body = service.post("/accounts/freeze", json!({ "account_id": "alice" })).await.assert(200);
    assert_eq!((&body["frozen"], &body["version"]), (&json!("both"), &json!(3)));
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_what_it_cannot_freeze() {
    let service = with_alice_and_bob().await;
    service.open("closed", "0").await;
    service.close("closed").await.assert(200);
    let before = service.snapshot();
    freeze(&service, "nobody", "both").await.expect_problem(404, "account_not_found");
    freeze(&service, "closed", "both").await.expect_problem(409, "account_closed");
    for direction in [
        json!("sideways"),
        json!(""),
        json!(null),
        json!(1),
        json!(true),
        json!(["debits"]),
        json!({}),
        json!({ "debits": null }),
    ] {
        let body = json!({ "account_id": "alice", "direction": direction });
        let refused = service.post("/accounts/freeze", body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], "/direction", "{refused:#}");
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn if_match_needs_the_current_version() {
    let service = Service::new();
    service.open("alice", "0").await;
    service.freeze("alice", "debits").await;
    let change = service.post("/accounts/freeze", json!({ "account_id": "alice" }));
    assert_if_match(&service, 1, change).await;
}
