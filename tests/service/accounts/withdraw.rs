use serde_json::json;

use crate::support::Service;

#[tokio::test]
async fn withdraws_money_to_the_external_account() {
    let service = Service::new();
    service.open("alice", "10").await;
    let body = json!({ "account_id": "alice", "amount": "2.5", "description": "card" });
    let body = service.post("/accounts/withdraw", body).await.assert(201);
    assert_eq!((&body["amount"], &body["balance"]), (&json!("2.50"), &json!("7.50")));
    assert_eq!((&body["status"], &body["description"]), (&json!("completed"), &json!("card")));
    assert_eq!(service.balance("alice").await, "7.50");
    assert_eq!(service.sum("USD"), 0);
    let newest = service.get("/accounts/alice").await.assert(200)["recent_transactions"][0].clone();
    assert_eq!(newest["counterparty"], "external");
}

#[tokio::test]
async fn refuses_and_changes_nothing() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "initial_balance": "10", "max_balance": "20" });
    service.post("/accounts", body).await.assert(201);
    let before = service.snapshot();
    service.withdraw("alice", "10.01").await.expect_problem(409, "insufficient_funds");
    service.withdraw("nobody", "1").await.expect_problem(404, "account_not_found");
    service.withdraw("alice", "0.001").await.expect_problem(422, "amount_scale_exceeded");
    service
        .withdraw("alice", "1234567890123456789012345678")
        .await
        .expect_problem(422, "amount_out_of_range");
    service.withdraw("alice", "0").await.expect_problem(422, "amount_not_positive");
    service.assert_unchanged(&before);
    service.withdraw("alice", "10").await.assert(201);
}

#[tokio::test]
async fn refuses_a_frozen_or_closed_account() {
    let service = Service::new();
    service.open("frozen", "10").await;
    service.freeze("frozen", "debits").await;
    service.open("closed", "0").await;
    service.close("closed").await.assert(200);
    let before = service.snapshot();
    let refused = service.withdraw("frozen", "1").await.expect_problem(409, "account_frozen");
    assert_eq!((&refused["role"], &refused["direction"]), (&json!("account_id"), &json!("debits")));
    service.withdraw("closed", "1").await.expect_problem(409, "account_closed");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_an_account_with_other_decimals() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.edit_account("alice", |record| record["scale"] = 0.into());
    let body = json!({ "account_id": "alice", "amount": "1" });
    let refused = service.post("/accounts/withdraw", body).await;
    let refused = refused.expect_problem(409, "currency_scale_mismatch");
    assert_eq!((&refused["from_scale"], &refused["to_scale"]), (&json!(0), &json!(2)));
}
