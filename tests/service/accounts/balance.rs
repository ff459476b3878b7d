use serde_json::json;

use crate::support::Service;

#[tokio::test]
async fn returns_the_available_amount() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "initial_balance": "1", "overdraft_limit": "2.50" });
    service.post("/accounts", body).await.assert(201);
    let body = service.get("/accounts/alice/balance").await.assert(200);
    assert_eq!(
        body,
        json!({
            "account_id": "alice", "currency": "USD", "balance": "1.00", "available": "3.50",
            "held": "0.00"
        })
    );
}

#[tokio::test]
async fn an_overdraft_gives_a_negative_balance() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "overdraft_limit": "2" });
    service.post("/accounts", body).await.assert(201);
    service.withdraw("alice", "0.05").await.assert(201);
    assert_eq!(service.balance("alice").await, "-0.05");
}

#[tokio::test]
async fn refuses_an_unknown_account() {
    Service::new().get("/accounts/nobody/balance").await.expect_problem(404, "account_not_found");
}
