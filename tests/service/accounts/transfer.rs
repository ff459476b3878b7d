use redis::Commands;
use serde_json::json;

use crate::{
    audit::Audit,
    support::{Service, race},
};

async fn with_alice_and_bob(alice: &str, bob: &str) -> Service {
    let service = Service::new();
    service.open("alice", alice).await;
    service.open("bob", bob).await;
    service
}

#[tokio::test]
async fn moves_money() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    let body = json!({
        "from_account": "alice", "to_account": "bob", "amount": "2.5",
        "description": "lunch \u{1f35c} \"\\", "metadata": { "order": "17" }
    });
    let mut body = service.post("/accounts/transfer", body).await.assert(201);
    assert!(body["transaction_id"].take().as_str().unwrap().starts_with("tx_"));
    assert!(body["created_at"].take().is_string());
    assert_eq!(
        body,
        json!({
            "transaction_id": null, "from_account": "alice", "to_account": "bob", "amount": "2.50",
            "currency": "USD", "from_balance": "7.50", "to_balance": "3.50", "status": "completed",
            "description": "lunch \u{1f35c} \"\\", "metadata": { "order": "17" }, "created_at": null
        })
    );
    assert_eq!(service.sum("USD"), 0);
    let seen = service.get("/accounts/bob").await.assert(200)["recent_transactions"][0].clone();
    assert_eq!(seen["description"], "lunch \u{1f35c} \"\\");
    assert_eq!(seen["metadata"], json!({ "order": "17" }));
    assert_eq!((&seen["direction"], &seen["counterparty"]), (&json!("credit"), &json!("alice")));
}

#[tokio::test]
async fn refuses_to_overdraw_by_one_minor_unit() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    let before = service.snapshot();
    let refused =
        service.transfer("alice", "bob", "10.01").await.expect_problem(409, "insufficient_funds");
    assert_eq!((&refused["available"], &refused["required"]), (&json!("10.00"), &json!("10.01")));
    assert_eq!(refused["currency"], "USD");
    assert_eq!(
        refused["detail"],
        "The account alice has 10.00 USD available, and 10.01 is required."
    );
    service.assert_unchanged(&before);
    service.transfer("alice", "bob", "10.00").await.assert(201);
}

#[tokio::test]
async fn refuses_unknown_accounts_by_role() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    let before = service.snapshot();
    for (from, to, role) in [("nobody", "bob", "from_account"), ("alice", "nobody", "to_account")] {
        let refused =
            service.transfer(from, to, "1").await.expect_problem(404, "account_not_found");
        assert_eq!((&refused["role"], &refused["account_id"]), (&json!(role), &json!("nobody")));
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_one_account_twice() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    service.transfer("alice", "alice", "1").await.expect_problem(422, "same_account");
    assert_eq!(service.balance("alice").await, "10.00");
}

#[tokio::test]
async fn refuses_two_currencies() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    service.post("/accounts", json!({ "account_id": "eve", "currency": "EUR" })).await.assert(201);
    let refused =
        service.transfer("alice", "eve", "1").await.expect_problem(422, "currency_mismatch");
    assert_eq!(
        (&refused["from_currency"], &refused["to_currency"]),
        (&json!("USD"), &json!("EUR"))
    );
}

#[tokio::test]
async fn refuses_to_fill_above_the_maximum() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    let body = json!({ "account_id": "eve", "initial_balance": "4", "max_balance": "5" });
    service.post("/accounts", body).await.assert(201);
    let refused =
        service.transfer("alice", "eve", "1.01").await.expect_problem(409, "max_balance_exceeded");
    assert_eq!((&refused["balance"], &refused["max_balance"]), (&json!("4.00"), &json!("5.00")));
    service.transfer("alice", "eve", "1").await.assert(201);
}

#[tokio::test]
async fn refuses_amounts_that_are_none() {
    let service = with_alice_and_bob("10.00", "1.00").await;
    let before = service.snapshot();
    for (amount, code) in [
        (json!("0"), "amount_not_positive"),
        (json!("-1"), "amount_not_positive"),
        (json!("1.001"), "amount_scale_exceeded"),
        (json!("12345678901234567890123456789"), "amount_out_of_range"),
        (json!("1234567890123456789012345678"), "amount_out_of_range"),
        (json!(1), "invalid_amount"),
        (json!(1.5), "invalid_amount"),
        (json!("1e3"), "invalid_amount"),
        (json!("nan"), "invalid_amount"),
        (json!("inf"), "invalid_amount"),
        (json!("0x10"), "invalid_amount"),
        (json!(" 1"), "invalid_amount"),
        (json!(null), "validation_failed"),
        (json!(["1"]), "validation_failed"),
    ] {
        let body = json!({ "from_account": "alice", "to_account": "bob", "amount": amount });
        service.post("/accounts/transfer", body).await.expect_problem(422, code);
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn spends_up_to_the_overdraft_limit() {
    let service = with_alice_and_bob("0", "0").await;
    let body = json!({ "account_id": "eve", "initial_balance": "1", "overdraft_limit": "2" });
    service.post("/accounts", body).await.assert(201);
    service.transfer("eve", "bob", "3.01").await.expect_problem(409, "insufficient_funds");
    let body = service.transfer("eve", "bob", "3").await.assert(201);
    assert_eq!(body["from_balance"], "-2.00");
    service.transfer("eve", "bob", "0.01").await.expect_problem(409, "insufficient_funds");
}

#[tokio::test(flavor = "multi_thread")]
async fn spends_each_unit_once_under_contention() {
    let service = with_alice_and_bob("100.00", "0.00").await;
    let answers =
        Audit::during(&service, race(300, |_| service.transfer("alice", "bob", "1.00"))).await;
    assert_eq!(answers.count(201), 100);
    assert_eq!(answers.count(409), 200);
    assert_eq!(answers.count_code("insufficient_funds"), 200);
    assert_eq!(
        (service.balance("alice").await, service.balance("bob").await),
        ("0.00".into(), "100.00".into())
    );
    assert_eq!(service.sum("USD"), 0);
}

#[tokio::test]
async fn refuses_a_frozen_or_closed_account() {
    let service = with_alice_and_bob("10.00", "0").await;
    service.open("closed", "0").await;
    service.close("closed").await.assert(200);
    service.freeze("bob", "credits").await;
    let before = service.snapshot();
    for (from, to, code, role) in [
        ("alice", "bob", "account_frozen", "to_account"),
        ("alice", "closed", "account_closed", "to_account"),
        ("closed", "alice", "account_closed", "from_account"),
    ] {
        assert_eq!(service.transfer(from, to, "1").await.expect_problem(409, code)["role"], role);
    }
    service.assert_unchanged(&before);
}

/// No description and no metadata are the usual case, and take no room in the logs.
#[tokio::test]
async fn a_posting_without_a_description_is_short() {
    let service = Service::new();
    service.open("alice", "2").await;
    service.open("bob", "0").await;
    service.transfer("alice", "bob", "1").await.assert(201);
    let plain: Vec<u8> = service.raw().lindex(service.key("postings", "alice"), -1).unwrap();
    // Layout, kind, three numbers and the id, the counterparty and an empty description with their ends.
    assert_eq!(plain.len(), 2 + 3 * 8 + 16 + "bob".len() + 1 + 1);
    let body = json!({
        "from_account": "alice", "to_account": "bob", "amount": "1", "description": "tea",
        "metadata": { "a": "b" }
    });
    service.post("/accounts/transfer", body).await.assert(201);
    let full: Vec<u8> = service.raw().lindex(service.key("postings", "alice"), -1).unwrap();
    assert_eq!(full.len(), plain.len() + r#""tea"{"a":"b"}"#.len());
}

#[tokio::test]
async fn refuses_an_account_with_other_decimals() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "0").await;
    service.edit_account("bob", |record| record["scale"] = 0.into());
    let refused = service.transfer("alice", "bob", "1").await;
    let refused = refused.expect_problem(409, "currency_scale_mismatch");
    assert_eq!((&refused["from_scale"], &refused["to_scale"]), (&json!(2), &json!(0)));
}
