use redis::Commands;
use serde_json::json;

use crate::support::Service;

#[tokio::test]
async fn returns_the_five_newest_transactions_and_the_version() {
    let service = Service::new();
    service.open("alice", "10.00").await;
    service.open("bob", "0").await;
    for amount in ["1", "2", "0.03", "0.04", "0.05"] {
        service.transfer("alice", "bob", amount).await.assert(201);
    }
    let answer = service.get("/accounts/alice").await;
    assert_eq!(answer.header("etag"), Some("\"6\""));
    let body = answer.assert(200);
    assert_eq!(body["balance"], "6.88");
    let recent = body["recent_transactions"].as_array().unwrap();
    let amounts: Vec<_> = recent.iter().map(|it| it["amount"].as_str().unwrap()).collect();
    assert_eq!(amounts, ["0.05", "0.04", "0.03", "2.00", "1.00"]);
    assert_eq!(recent[0]["balance_after"], "6.88");
    assert_eq!(recent[0]["direction"], "debit");
}

#[tokio::test]
async fn refuses_an_unknown_account() {
    let refused =
        Service::new().get("/accounts/nobody").await.expect_problem(404, "account_not_found");
    assert_eq!(refused["account_id"], "nobody");
    assert_eq!(refused["role"], "account_id");
}

/// A record with a status that there is not, or an amount that is no number, is refused and not taken for
/// money.
#[tokio::test]
async fn a_damaged_record_is_an_error() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "0").await;
    let key = service.key("account", "alice");
    let sound: Vec<u8> = service.raw().get(&key).unwrap();
    // Behind the layout, the status and the decimals stand four numbers, and then the amounts.
    let credits = 3 + 4 * 8;
    for (place, bytes) in [
        (1, vec![0]),
        (1, vec![6]),
        (credits, f64::NAN.to_le_bytes().to_vec()),
        (credits, (-1.0_f64).to_le_bytes().to_vec()),
    ] {
        let mut damaged = sound.clone();
        damaged.splice(place..place + bytes.len(), bytes);
        let () = service.raw().set(&key, &damaged).unwrap();
        let before = service.snapshot();
        service.get("/accounts/alice").await.expect_problem(500, "internal_error");
        service.transfer("alice", "bob", "1").await.expect_problem(500, "internal_error");
        service.transfer("bob", "alice", "1").await.expect_problem(500, "internal_error");
        service.assert_unchanged(&before);
    }
}

/// The widest figures of an account: a balance of 28 digits, and what is available has 29 with the overdraft limit.
#[tokio::test]
async fn an_account_at_its_limits_can_be_read() {
    let service = Service::new();
    let widest = format!("{}.99", "9".repeat(26));
    let body =
        json!({ "account_id": "alice", "initial_balance": widest, "overdraft_limit": widest });
    service.post("/accounts", body).await.assert(201);
    service.open("bob", "0").await;
    service.deposit("alice", "0.01").await.expect_problem(422, "amount_out_of_range");
    service.deposit("bob", "1").await.assert(201);
    service.hold("alice", "bob", &widest, 600_000).await.expect_problem(422, "amount_out_of_range");
    service.transfer("bob", "alice", "1").await.expect_problem(422, "amount_out_of_range");
    let account = service.get("/accounts/alice").await.assert(200);
    assert_eq!(account["balance"], widest);
    assert_eq!(account["available"], format!("1{}.98", "9".repeat(26)));
    service.get("/accounts/alice/balance").await.assert(200);
    service.get("/accounts").await.assert(200);
    let integrity = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity:#}");
}
