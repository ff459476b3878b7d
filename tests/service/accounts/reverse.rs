use serde_json::json;

use crate::{
    audit::Audit,
    support::{Service, race},
};

/// Opens alice with 100.00, of which she pays bob 10.00, and returns the id of that transaction.
async fn with_a_payment() -> (Service, String) {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("bob", "0").await;
    let body = service.transfer("alice", "bob", "10").await.assert(201);
    (service, body["transaction_id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn moves_the_money_back() {
    let (service, id) = with_a_payment().await;
    let body = json!({ "transaction_id": id, "description": "cold soup" });
    let body = service.post("/accounts/reverse", body).await.assert(201);
    assert_eq!(
        [&body["kind"], &body["from_account"], &body["to_account"], &body["amount"]],
        ["reversal", "bob", "alice", "10.00"]
    );
    assert_eq!([&body["from_balance"], &body["to_balance"]], ["0.00", "100.00"]);
    assert_eq!([&body["reverses"], &body["description"]], [id.as_str(), "cold soup"]);
    assert_eq!([&body["original"]["status"], &body["original"]["reversed"]], ["reversed", "10.00"]);
    let answer = service.get(&format!("/accounts/transactions/{id}")).await.assert(200);
    assert_eq!(answer, body["original"]);
    Audit::default().check(&service);
}

#[tokio::test]
async fn parts_add_up_to_the_amount_at_most() {
    let (service, id) = with_a_payment().await;
    let body = service.reverse(&id, Some("4")).await.assert(201);
    assert_eq!(body["original"]["status"], "partially_reversed");
    let before = service.snapshot();
    let refused = service.reverse(&id, Some("6.01")).await;
    let refused = refused.expect_problem(422, "reversal_exceeds_transaction");
    assert_eq!(
        [&refused["remaining"], &refused["requested"], &refused["currency"]],
        ["6.00", "6.01", "USD"]
    );
    service.assert_unchanged(&before);
    // Without an amount, the rest is reversed.
    assert_eq!(service.reverse(&id, None).await.assert(201)["amount"], "6.00");
    let refused = service.reverse(&id, None).await;
    assert_eq!(refused.expect_problem(422, "reversal_exceeds_transaction")["remaining"], "0.00");
    assert_eq!(service.balance("alice").await, "100.00");
}

#[tokio::test]
async fn reverses_deposits_and_withdrawals() {
    let service = Service::new();
    service.open("alice", "100").await;
    let newest = service.get("/accounts/alice").await.assert(200)["recent_transactions"][0].clone();
    let body = service.reverse(newest["transaction_id"].as_str().unwrap(), Some("30")).await;
    let body = body.assert(201);
    assert_eq!(
        (&body["from_account"], &body["from_balance"], &body["to_account"], &body["to_balance"]),
        (&json!("alice"), &json!("70.00"), &json!("external"), &json!(null))
    );
    let out = service.withdraw("alice", "50").await.assert(201);
    let body = service.reverse(out["transaction_id"].as_str().unwrap(), None).await.assert(201);
    assert_eq!(body["to_balance"], "70.00");
    assert_eq!(service.sum("USD"), 0);
}

#[tokio::test]
async fn a_reversal_cannot_be_reversed() {
    let (service, id) = with_a_payment().await;
    let body = service.reverse(&id, Some("4")).await.assert(201);
    let before = service.snapshot();
    let refused = service.reverse(body["transaction_id"].as_str().unwrap(), None).await;
    let refused = refused.expect_problem(422, "reversal_exceeds_transaction");
    assert_eq!([&refused["remaining"], &refused["requested"]], ["0.00", "4.00"]);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with("Of the reversal tx_"), "{detail}");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_what_cannot_move_back() {
    let (service, id) = with_a_payment().await;
    let refused =
        service.reverse("tx_none", None).await.expect_problem(404, "transaction_not_found");
    assert_eq!(refused["detail"], "There is no transaction tx_none.");
    let refused =
        service.reverse(&id, Some("0.001")).await.expect_problem(422, "amount_scale_exceeded");
    assert_eq!(refused["errors"][0]["pointer"], "/amount");
    service
        .reverse(&id, Some("1234567890123456789012345678"))
        .await
        .expect_problem(422, "amount_out_of_range");
    service.reverse(&id, Some("0")).await.expect_problem(422, "amount_not_positive");

    let hold_id = service.held("bob", "alice", "1").await;
    let before = service.snapshot();
    let refused = service.reverse(&id, None).await.expect_problem(409, "insufficient_funds");
    assert_eq!(
        [&refused["account_id"], &refused["available"], &refused["required"]],
        ["bob", "9.00", "10.00"]
    );
    service.assert_unchanged(&before);
    service.release(&hold_id).await.assert(200);

    service.freeze("alice", "credits").await;
    let before = service.snapshot();
    let refused = service.reverse(&id, None).await.expect_problem(409, "account_frozen");
    assert_eq!([&refused["role"], &refused["account_id"]], ["to_account", "alice"]);
    service.assert_unchanged(&before);
    service.post("/accounts/unfreeze", json!({ "account_id": "alice" })).await.assert(200);

    service.patch("/accounts/alice", json!({ "max_balance": "99" })).await.assert(200);
    service.reverse(&id, None).await.expect_problem(409, "max_balance_exceeded");

    service.transfer("bob", "alice", "9").await.assert(201);
    service.withdraw("bob", "1").await.assert(201);
    service.close("bob").await.assert(200);
    let before = service.snapshot();
    let refused = service.reverse(&id, None).await.expect_problem(409, "account_closed");
    assert_eq!([&refused["role"], &refused["account_id"]], ["from_account", "bob"]);
    service.assert_unchanged(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reversals_give_back_each_unit_once() {
    let (service, id) = with_a_payment().await;
    service.transfer("alice", "bob", "50").await.assert(201);
    let answers = Audit::during(&service, race(80, |_| service.reverse(&id, Some("0.30")))).await;
    // 33 times 0.30 is 9.90.
    assert_eq!(answers.count(201), 33);
    assert_eq!(answers.count(422), 47);
    assert_eq!(answers.count_code("reversal_exceeds_transaction"), 47);
    assert_eq!(service.balance("bob").await, "50.10");
    assert_eq!(service.reverse(&id, None).await.assert(201)["amount"], "0.10");
}

#[tokio::test]
async fn a_repeat_has_the_same_answer_after_the_transaction_is_deleted() {
    let (service, id) = with_a_payment().await;
    let body = json!({ "transaction_id": id });
    let first = service.post("/accounts/reverse", body.clone()).key("k").await;
    let () =
        redis::cmd("DEL").arg(service.transactions_key(&id)).query(&mut service.raw()).unwrap();
    let again = service.post("/accounts/reverse", body).key("k").await;
    assert!(again.replayed());
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    service
        .get(&format!("/accounts/transactions/{id}"))
        .await
        .expect_problem(404, "transaction_not_found");
}
