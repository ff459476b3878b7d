use serde_json::json;

use crate::{
    audit::Audit,
    support::{Call, Service, assert_if_match, race},
};

fn close_to(service: &Service, account: &str, sweep_to: &str) -> Call {
    let body = json!({ "account_id": account, "sweep_to": sweep_to });
    service.post("/accounts/close", body)
}

#[tokio::test]
async fn a_closed_account_stays_closed() {
    let service = Service::new();
    service.open("alice", "0").await;
    service.open("bob", "10").await;
    let answer = service.close("alice").await;
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let body = answer.assert(200);
    assert_eq!((&body["status"], &body["sweep_transaction_id"]), (&json!("closed"), &json!(null)));
    let before = service.snapshot();
    service.transfer("bob", "alice", "1").await.expect_problem(409, "account_closed");
    service.transfer("alice", "bob", "1").await.expect_problem(409, "account_closed");
    let refused = service.close("alice").await.expect_problem(409, "account_closed");
    assert_eq!(refused["role"], "account_id");
    let body = json!({ "account_id": "alice" });
    service.post("/accounts", body).await.expect_problem(409, "account_exists");
    service.assert_unchanged(&before);
    assert_eq!(service.get("/accounts/alice").await.assert(200)["status"], "closed");
}

#[tokio::test]
async fn sweeps_the_balance_to_another_account() {
    let service = Service::new();
    service.open("alice", "12.34").await;
    service.open("bob", "1").await;
    let body = close_to(&service, "alice", "bob").await.assert(200);
    assert_eq!((&body["status"], &body["balance"]), (&json!("closed"), &json!("0.00")));
    assert_eq!(service.balance("bob").await, "13.34");
    let id = body["sweep_transaction_id"].as_str().unwrap();
    let answer = service.get(&format!("/accounts/transactions/{id}")).await.assert(200);
    assert_eq!((&answer["kind"], &answer["amount"]), (&json!("sweep"), &json!("12.34")));
    let refused = service.reverse(id, None).await.expect_problem(409, "account_closed");
    assert_eq!(refused["account_id"], "alice");
    Audit::default().check(&service);
}

#[tokio::test]
async fn refuses_what_is_not_empty() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let hold_id = service.held("alice", "bob", "4").await;
    let before = service.snapshot();
    let refused = service.close("alice").await.expect_problem(409, "account_not_empty");
    assert_eq!(
        (&refused["balance"], &refused["held"], &refused["currency"]),
        (&json!("10.00"), &json!("4.00"), &json!("USD"))
    );
    // Held money cannot be swept.
    close_to(&service, "alice", "bob").await.expect_problem(409, "account_not_empty");
    service.assert_unchanged(&before);
    service.release(&hold_id).await.assert(200);
    service.close("alice").await.expect_problem(409, "account_not_empty");
    close_to(&service, "alice", "bob").await.assert(200);

    let body = json!({ "account_id": "minus", "overdraft_limit": "5" });
    service.post("/accounts", body).await.assert(201);
    service.transfer("minus", "bob", "1").await.assert(201);
    let refused = close_to(&service, "minus", "bob").await.expect_problem(409, "account_not_empty");
    assert_eq!(refused["balance"], "-1.00");
}

#[tokio::test]
async fn an_expired_hold_does_not_prevent_closing() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    service.held("alice", "bob", "4").await;
    service.advance_ms(3_600_000);
    close_to(&service, "alice", "bob").await.assert(200);
    assert_eq!(service.balance("bob").await, "10.00");
}

#[tokio::test]
async fn refuses_where_it_cannot_sweep() {
    let service = Service::new();
    service.open("alice", "10").await;
    let body = json!({ "account_id": "euro", "currency": "EUR" });
    service.post("/accounts", body).await.assert(201);
    let body = json!({ "account_id": "small", "max_balance": "9" });
    service.post("/accounts", body).await.assert(201);
    service.open("closed", "0").await;
    service.close("closed").await.assert(200);
    service.open("frozen", "5").await;
    service.freeze("frozen", "debits").await;
    service.open("bob", "0").await;
    let before = service.snapshot();
    close_to(&service, "alice", "alice").await.expect_problem(422, "same_account");
    service.close("nobody").await.expect_problem(404, "account_not_found");
    let refused =
        close_to(&service, "alice", "nobody").await.expect_problem(404, "account_not_found");
    assert_eq!((&refused["role"], &refused["account_id"]), (&json!("sweep_to"), &json!("nobody")));
    close_to(&service, "alice", "euro").await.expect_problem(422, "currency_mismatch");
    close_to(&service, "alice", "small").await.expect_problem(409, "max_balance_exceeded");
    let refused = close_to(&service, "alice", "closed").await.expect_problem(409, "account_closed");
    assert_eq!(refused["role"], "sweep_to");
    let refused = close_to(&service, "frozen", "bob").await.expect_problem(409, "account_frozen");
    assert_eq!(refused["role"], "account_id");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn balances_stay_within_28_digits() {
    let service = Service::new();
    service.open("alice", "99999999999999999999999999.99").await;
    service.open("carol", "1").await;
    let refused =
        close_to(&service, "carol", "alice").await.expect_problem(422, "amount_out_of_range");
    assert_eq!(refused["errors"][0]["pointer"], "/sweep_to");
}

#[tokio::test]
async fn a_closed_account_with_an_overdraft_has_nothing_available() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "overdraft_limit": "10" });
    service.post("/accounts", body).await.assert(201);
    let body = service.close("alice").await.assert(200);
    assert_eq!([&body["available"], &body["overdraft_limit"]], ["0.00", "0.00"]);
}

/// Transfers arrive while the account is closed: those before it are swept with the rest, and those
/// after it are refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_transfer_is_lost_while_the_account_closes() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    service.open("carol", "0").await;
    let (arrived, closed) = Audit::during(&service, async {
        let tasks = race(100, |number| {
            let service = service.clone();
            async move {
                match number {
                    50 => (true, close_to(&service, "bob", "carol").await.status.as_u16()),
                    _ => (false, service.transfer("alice", "bob", "1").await.status.as_u16()),
                }
            }
        });
        let results = tasks.await;
        let arrived = results.iter().filter(|end| **end == (false, 201)).count();
        assert!(results.iter().all(|(_, status)| [200, 201, 409].contains(status)), "{results:?}");
        (arrived, results.contains(&(true, 200)))
    })
    .await;
    assert!(closed);
    assert_eq!(service.balance("bob").await, "0.00");
    assert_eq!(service.balance("carol").await, format!("{arrived}.00"));
    assert_eq!(service.balance("alice").await, format!("{}.00", 100 - arrived));
}

#[tokio::test]
async fn if_match_needs_the_current_version() {
    let service = Service::new();
    service.open("alice", "0").await;
    service.freeze("alice", "debits").await;
    let change = service.post("/accounts/close", json!({ "account_id": "alice" }));
    assert_if_match(&service, 1, change).await;
}

#[tokio::test]
async fn refuses_an_account_with_other_decimals() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "0").await;
    service.edit_account("bob", |record| record["scale"] = 0.into());
    let body = json!({ "account_id": "alice", "sweep_to": "bob" });
    let refused = service.post("/accounts/close", body).await;
    let refused = refused.expect_problem(409, "currency_scale_mismatch");
    assert_eq!((&refused["from_scale"], &refused["to_scale"]), (&json!(2), &json!(0)));
}
