use serde_json::json;

use crate::{
    audit::Audit,
    support::{Service, race},
};

async fn with_alice_and_hotel(alice: &str) -> Service {
    let service = Service::new();
    service.open("alice", alice).await;
    service.open("hotel", "0").await;
    service
}

#[tokio::test]
async fn reserves_money() {
    let service = with_alice_and_hotel("100").await;
    let body = json!({
        "from_account": "alice", "to_account": "hotel", "amount": "60", "ttl_ms": 60_000,
        "description": "two \"nights\"", "metadata": { "booking": "7" }
    });
    let mut body = service.post("/accounts/hold", body).await.assert(201);
    let hold_id = body["hold_id"].take();
    assert!(hold_id.as_str().unwrap().starts_with("hold_"));
    let created: jiff::Timestamp = body["created_at"].take().as_str().unwrap().parse().unwrap();
    let expires: jiff::Timestamp = body["expires_at"].take().as_str().unwrap().parse().unwrap();
    assert_eq!(expires.as_millisecond() - created.as_millisecond(), 60_000);
    assert_eq!(
        body,
        json!({
            "hold_id": null, "status": "open", "from_account": "alice", "to_account": "hotel",
            "currency": "USD", "amount": "60.00", "captured": "0.00", "released": "0.00",
            "expired": "0.00", "remaining": "60.00", "expires_at": null, "created_at": null,
            "description": "two \"nights\"", "metadata": { "booking": "7" }, "available": "40.00"
        })
    );
    assert_eq!(service.funds("alice").await, ["100.00", "40.00", "60.00"]);
    assert_eq!(service.funds("hotel").await, ["0.00", "0.00", "0.00"]);
    Audit::default().check(&service);
}

#[tokio::test]
async fn held_money_cannot_be_spent_or_held_again() {
    let service = with_alice_and_hotel("100").await;
    service.held("alice", "hotel", "60").await;
    let refused = service.transfer("alice", "hotel", "40.01").await;
    assert_eq!(refused.expect_problem(409, "insufficient_funds")["available"], "40.00");
    service.withdraw("alice", "40.01").await.expect_problem(409, "insufficient_funds");
    service.hold("alice", "hotel", "40.01", 60_000).await.expect_problem(409, "insufficient_funds");
    service.hold("alice", "hotel", "40.00", 60_000).await.assert(201);
    service.transfer("alice", "hotel", "0.01").await.expect_problem(409, "insufficient_funds");
}

#[tokio::test]
async fn expires_to_the_millisecond_without_any_call() {
    let service = with_alice_and_hotel("100").await;
    service.hold("alice", "hotel", "60", 3_600_000).await.assert(201);
    service.hold("alice", "hotel", "30", 7_200_000).await.assert(201);
    service.advance_ms(3_590_000);
    assert_eq!(service.funds("alice").await, ["100.00", "10.00", "90.00"]);
    service.advance_ms(10_000);
    // A read counts expired holds as available, and writes nothing.
    let before = service.snapshot();
    assert_eq!(service.funds("alice").await, ["100.00", "70.00", "30.00"]);
    service.assert_unchanged(&before);
    service.transfer("alice", "hotel", "70.01").await.expect_problem(409, "insufficient_funds");
    service.assert_unchanged(&before);
    service.transfer("alice", "hotel", "70").await.assert(201);
    Audit::default().check(&service);
    service.advance_ms(3_600_000);
    assert_eq!(service.funds("alice").await, ["30.00", "30.00", "0.00"]);
}

#[tokio::test]
async fn a_later_hold_may_expire_earlier() {
    let service = with_alice_and_hotel("100").await;
    service.hold("alice", "hotel", "10", 5_000_000).await.assert(201);
    service.hold("alice", "hotel", "20", 1_000_000).await.assert(201);
    service.hold("alice", "hotel", "30", 3_000_000).await.assert(201);
    service.advance_ms(1_000_000);
    assert_eq!(service.funds("alice").await, ["100.00", "60.00", "40.00"]);
    service.advance_ms(2_000_000);
    assert_eq!(service.funds("alice").await, ["100.00", "90.00", "10.00"]);
}

#[tokio::test]
async fn the_expiry_of_a_released_hold_does_not_affect_others() {
    let service = with_alice_and_hotel("100").await;
    let first = service.hold("alice", "hotel", "10", 1_000_000).await.assert(201);
    service.held("alice", "hotel", "20").await;
    service.release(first["hold_id"].as_str().unwrap()).await.assert(200);
    service.advance_ms(1_000_001);
    // The account record still names this expiry, but the hold has been released.
    service.transfer("alice", "hotel", "1").await.assert(201);
    assert_eq!(service.funds("alice").await, ["99.00", "79.00", "20.00"]);
    Audit::default().check(&service);
}

/// The balance is 2^53 + 1 cents, which a number cannot tell from the 2^53 that are held.
#[tokio::test]
async fn a_cent_is_left_beside_a_hold_at_the_border_of_numbers() {
    let service = with_alice_and_hotel("90071992547409.93").await;
    service.held("alice", "hotel", "90071992547409.92").await;
    let refused = service.transfer("alice", "hotel", "0.02").await;
    assert_eq!(refused.expect_problem(409, "insufficient_funds")["available"], "0.01");
    service.transfer("alice", "hotel", "0.01").await.assert(201);
    assert_eq!(service.funds("alice").await, ["90071992547409.92", "0.00", "90071992547409.92"]);
}

#[tokio::test]
async fn refuses_what_a_transfer_refuses() {
    let service = with_alice_and_hotel("100").await;
    let limited = json!({ "account_id": "small", "max_balance": "5" });
    service.post("/accounts", limited).await.assert(201);
    let euro = json!({ "account_id": "euro", "currency": "EUR" });
    service.post("/accounts", euro).await.assert(201);
    for account in ["frozen", "closed"] {
        service.open(account, "0").await;
    }
    service.freeze("frozen", "credits").await;
    service.close("closed").await.assert(200);
    let before = service.snapshot();
    let hold = |from: &'static str, to: &'static str, amount: &'static str| {
        let service = service.clone();
        async move { service.hold(from, to, amount, 1000).await }
    };
    hold("alice", "alice", "1").await.expect_problem(422, "same_account");
    let refused = hold("nobody", "hotel", "1").await.expect_problem(404, "account_not_found");
    assert_eq!(refused["role"], "from_account");
    let refused = hold("alice", "nobody", "1").await.expect_problem(404, "account_not_found");
    assert_eq!(refused["role"], "to_account");
    hold("alice", "euro", "1").await.expect_problem(422, "currency_mismatch");
    let refused = hold("alice", "frozen", "1").await.expect_problem(409, "account_frozen");
    assert_eq!(
        (&refused["role"], &refused["direction"]),
        (&json!("to_account"), &json!("credits"))
    );
    let refused = hold("closed", "alice", "1").await.expect_problem(409, "account_closed");
    assert_eq!(refused["role"], "from_account");
    let refused = hold("alice", "closed", "1").await.expect_problem(409, "account_closed");
    assert_eq!(refused["detail"], "The account closed (to_account) is closed.");
    let refused =
        hold("alice", "hotel", "0.001").await.expect_problem(422, "amount_scale_exceeded");
    assert_eq!(refused["errors"][0]["pointer"], "/amount");
    hold("alice", "hotel", "1234567890123456789012345678")
        .await
        .expect_problem(422, "amount_out_of_range");
    hold("alice", "hotel", "100.01").await.expect_problem(409, "insufficient_funds");
    hold("alice", "small", "5.01").await.expect_problem(409, "max_balance_exceeded");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_bad_input() {
    let service = with_alice_and_hotel("100").await;
    let before = service.snapshot();
    for (ttl_ms, code) in [
        (json!(0), "validation_failed"),
        (json!(-1), "validation_failed"),
        (json!(2_592_000_001_u64), "validation_failed"),
        (json!("1000"), "validation_failed"),
        (json!(1.5), "validation_failed"),
        (json!(null), "validation_failed"),
    ] {
        let body = json!({
            "from_account": "alice", "to_account": "hotel", "amount": "1", "ttl_ms": ttl_ms
        });
        let refused = service.post("/accounts/hold", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], "/ttl_ms");
    }
    let body = json!({ "from_account": "alice", "to_account": "hotel", "amount": "1" });
    let refused =
        service.post("/accounts/hold", body).await.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/ttl_ms");
    service.hold("alice", "hotel", "0", 1000).await.expect_problem(422, "amount_not_positive");
    service.assert_unchanged(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_each_unit_once_under_contention() {
    let service = with_alice_and_hotel("100").await;
    let answers =
        Audit::during(&service, race(200, |_| service.hold("alice", "hotel", "2.5", 60_000))).await;
    assert_eq!(answers.count(201), 40);
    assert_eq!(answers.count(409), 160);
    assert_eq!(answers.count_code("insufficient_funds"), 160);
    assert_eq!(service.funds("alice").await, ["100.00", "0.00", "100.00"]);
}

#[tokio::test]
async fn the_record_has_an_expiry() {
    let service = with_alice_and_hotel("100").await;
    let hold_id = service.held("alice", "hotel", "10").await;
    let ttl: i64 =
        redis::cmd("PTTL").arg(service.key("hold", &hold_id)).query(&mut service.raw()).unwrap();
    let week = 7 * 24 * 3_600_000;
    assert!((week..=week + 3_600_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn refuses_an_account_with_other_decimals() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "0").await;
    service.edit_account("bob", |record| record["scale"] = 0.into());
    let refused = service.hold("alice", "bob", "1", 1000).await;
    let refused = refused.expect_problem(409, "currency_scale_mismatch");
    assert_eq!((&refused["from_scale"], &refused["to_scale"]), (&json!(2), &json!(0)));
}
