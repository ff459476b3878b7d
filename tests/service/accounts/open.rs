use redis::Commands;
use serde_json::json;

use crate::{
    audit::Audit,
    support::{Service, pack_account, race},
};

#[tokio::test]
async fn opens_an_empty_account_by_default() {
    let service = Service::new();
    let answer = service.post("/accounts", json!({ "account_id": "alice" })).await;
    assert_eq!(answer.header("etag"), Some("\"0\""));
    let mut body = answer.assert(201);
    assert!(body["created_at"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        body,
        json!({
            "account_id": "alice", "currency": "USD", "balance": "0.00", "available": "0.00",
            "held": "0.00", "overdraft_limit": "0.00", "max_balance": null, "status": "open",
            "frozen": null, "metadata": {},
            "version": 0, "created_at": null
        })
    );
}

#[tokio::test]
async fn the_initial_balance_comes_from_the_external_account() {
    let service = Service::new();
    let body = json!({
        "account_id": "alice", "currency": "JPY", "initial_balance": "500", "overdraft_limit": "20",
        "max_balance": "1000", "metadata": { "tier": "g\"old" }
    });
    let body = service.post("/accounts", body).await.assert(201);
    assert_eq!(
        [&body["balance"], &body["available"], &body["overdraft_limit"], &body["max_balance"]],
        ["500", "520", "20", "1000"]
    );
    assert_eq!(body["metadata"], json!({ "tier": "g\"old" }));
    assert_eq!(service.sum("JPY"), 0);
    let account = service.get("/accounts/alice").await.assert(200);
    assert_eq!(account["recent_transactions"][0]["counterparty"], "external");
    assert_eq!(account["recent_transactions"][0]["amount"], "500");
}

#[tokio::test]
async fn refuses_a_second_one_of_the_same_id() {
    let service = Service::new();
    service.open("alice", "1.00").await;
    let before = service.snapshot();
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    let refused = service.post("/accounts", body).await.expect_problem(409, "account_exists");
    assert_eq!(refused["detail"], "There is an account alice already.");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn spaces_do_not_see_each_other() {
    let (one, other) = (Service::new(), Service::new());
    one.open("alice", "1.00").await;
    other.get("/accounts/alice").await.expect_problem(404, "account_not_found");
    other.open("alice", "2.00").await;
    assert_eq!(
        (one.balance("alice").await, other.balance("alice").await),
        ("1.00".into(), "2.00".into())
    );
}

#[tokio::test]
async fn refuses_words_of_the_service_as_ids() {
    let service = Service::new();
    for id in ["external", "transfer", "holds", "integrity"] {
        let refused = service.post("/accounts", json!({ "account_id": id })).await;
        assert_eq!(
            refused.expect_problem(422, "invalid_id")["errors"][0]["pointer"],
            "/account_id"
        );
    }
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn amounts_must_fit_the_currency() {
    let service = Service::new();
    for (field, amount, currency, code) in [
        ("initial_balance", "1.001", "USD", "amount_scale_exceeded"),
        ("overdraft_limit", "0.1", "JPY", "amount_scale_exceeded"),
        ("max_balance", "99999999999999999999999999.9", "KWD", "amount_out_of_range"),
        ("initial_balance", "-1", "USD", "amount_not_positive"),
    ] {
        let body = json!({ "account_id": "alice", "currency": currency, field: amount });
        let refused = service.post("/accounts", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], format!("/{field}"));
    }
    let body = json!({ "account_id": "alice", "currency": "DOGE" });
    service.post("/accounts", body).await.expect_problem(422, "validation_failed");
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn an_initial_balance_obeys_the_maximum() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "initial_balance": "5.01", "max_balance": "5" });
    let refused = service.post("/accounts", body).await.expect_problem(409, "max_balance_exceeded");
    assert_eq!(refused["max_balance"], "5.00");
    assert!(service.snapshot().is_empty());
}

/// The largest amount is deposited and withdrawn again and again: the turnover of an account and of the
/// external account has more digits than any amount.
#[tokio::test]
async fn turnover_has_more_digits_than_any_amount() {
    let service = Service::new();
    let most = "99999999999999999999999999.99";
    service.open("alice", most).await;
    service.open("bob", most).await;
    for _ in 0..25 {
        let body = json!({ "account_id": "alice", "amount": most });
        service.post("/accounts/withdraw", body.clone()).await.assert(201);
        service.post("/accounts/deposit", body).await.assert(201);
    }
    assert_eq!(service.balance("alice").await, most);
    service.deposit("alice", "0.01").await.expect_problem(422, "amount_out_of_range");
    // Such a refusal is no answer to remember: after a withdrawal the same call may succeed.
    service.deposit("alice", "0.01").key("k").await.expect_problem(422, "amount_out_of_range");
    let remembered: bool = service.raw().exists(service.key("once", "k")).unwrap();
    assert!(!remembered);
    let books = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(books["currencies"][0]["ok"], true, "{books:#}");
    assert_eq!(service.sum("USD"), 0);
    Audit::default().check(&service);
}

#[tokio::test]
async fn turnover_is_limited_to_36_digits() {
    let service = Service::new();
    service.open("alice", "0.01").await;
    let field = service.key("external", "accounts");
    let record: Vec<u8> =
        redis::cmd("HGET").arg(&field).arg("USD").query(&mut service.raw()).unwrap();
    let mut record = lockstep::accounts::account_to_json(&record).unwrap();
    assert_eq!(record["debits"], "1");
    record["debits"] = "9".repeat(36).into();
    redis::cmd("HSET")
        .arg(&field)
        .arg("USD")
        .arg(pack_account(&record))
        .exec(&mut service.raw())
        .unwrap();
    let body = json!({ "account_id": "bob", "initial_balance": "0.01" });
    let refused = service.post("/accounts", body).await.expect_problem(422, "amount_out_of_range");
    assert_eq!(refused["errors"][0]["pointer"], "/initial_balance");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_callers_opens_the_account() {
    let service = Service::new();
    let answers = Audit::during(
        &service,
        race(50, |_| {
            let body = json!({ "account_id": "alice", "initial_balance": "1" });
            service.post("/accounts", body)
        }),
    )
    .await;
    assert_eq!(answers.count(201), 1);
    assert_eq!(answers.count(409), 49);
    assert_eq!(answers.count_code("account_exists"), 49);
    assert_eq!(service.balance("alice").await, "1.00");
}

#[tokio::test]
async fn refuses_an_account_with_other_decimals() {
    let service = Service::new();
    service.open("alice", "5").await;
    let key = service.key("external", "accounts");
    let record: Vec<u8> = service.raw().hget(&key, "USD").unwrap();
    let mut record = lockstep::accounts::account_to_json(&record).unwrap();
    record["scale"] = 0.into();
    let () = service.raw().hset(&key, "USD", pack_account(&record)).unwrap();
    let body = json!({ "account_id": "bob", "initial_balance": "1" });
    let refused = service.post("/accounts", body).await;
    let refused = refused.expect_problem(409, "currency_scale_mismatch");
    assert_eq!((&refused["from_scale"], &refused["to_scale"]), (&json!(0), &json!(2)));
}
