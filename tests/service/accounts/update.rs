use serde_json::{Value, json};

use crate::{
    audit::Audit,
    support::{Call, Service, assert_if_match, race_each},
};

fn update(service: &Service, account: &str, body: Value) -> Call {
    service.patch(&format!("/accounts/{account}"), body)
}

#[tokio::test]
async fn changes_only_the_named_fields() {
    let service = Service::new();
    let body = json!({
        "account_id": "alice", "initial_balance": "10", "overdraft_limit": "5",
        "max_balance": "100", "metadata": { "a": "1" }
    });
    service.post("/accounts", body).await.assert(201);
    let answer = update(&service, "alice", json!({ "overdraft_limit": "7.5" })).await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let body = answer.assert(200);
    assert_eq!(
        [&body["overdraft_limit"], &body["max_balance"], &body["available"]],
        ["7.50", "100.00", "17.50"]
    );
    assert_eq!(body["metadata"], json!({ "a": "1" }));
    let body = update(&service, "alice", json!({ "max_balance": null })).await.assert(200);
    assert_eq!((&body["max_balance"], &body["overdraft_limit"]), (&json!(null), &json!("7.50")));
    let body = update(&service, "alice", json!({ "metadata": { "b": "%1\"" } })).await.assert(200);
    assert_eq!((&body["metadata"], &body["version"]), (&json!({ "b": "%1\"" }), &json!(4)));
    let body = update(&service, "alice", json!({ "max_balance": "10", "overdraft_limit": "0" }));
    let body = body.await.assert(200);
    assert_eq!([&body["max_balance"], &body["overdraft_limit"]], ["10.00", "0.00"]);
    let before = service.snapshot();
    assert_eq!(update(&service, "alice", json!({})).await.assert(200)["version"], 5);
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn if_match_needs_the_current_version() {
    let service = Service::new();
    service.open("alice", "10").await;
    assert_eq!(service.get("/accounts/alice").await.header("etag"), Some("\"1\""));
    let change = update(&service, "alice", json!({ "overdraft_limit": "1" }));
    assert_if_match(&service, 1, change.clone()).await;
    // A gateway that compresses an answer makes its ETag weak.
    for tags in ["*", "2", "\"2\"", "W/\"2\"", "\"1\", \"2\"", "W/\"1\", W/\"2\""] {
        change.clone().if_match(tags).await.assert(200);
    }
    let stale = change.clone().if_match("\"0\", \"3\"").await;
    stale.expect_problem(412, "version_mismatch");
    // Two headers are one list.
    change.if_match("\"1\"").if_match("\"2\"").await.assert(200);
}

#[tokio::test]
async fn refuses_limits_below_the_amount_in_use() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "initial_balance": "10", "overdraft_limit": "20" });
    service.post("/accounts", body).await.assert(201);
    service.open("bob", "0").await;
    service.transfer("alice", "bob", "12").await.assert(201);
    service.held("alice", "bob", "5").await;
    let before = service.snapshot();
    let refused = update(&service, "alice", json!({ "overdraft_limit": "6.99" })).await;
    let refused = refused.expect_problem(409, "limit_below_usage");
    assert_eq!(
        [&refused["field"], &refused["requested"], &refused["in_use"], &refused["currency"]],
        ["overdraft_limit", "6.99", "7.00", "USD"]
    );
    assert_eq!(
        refused["detail"],
        "The overdraft_limit of alice cannot be 6.99 USD: 7.00 is in use."
    );
    let refused = update(&service, "bob", json!({ "max_balance": "11.99" })).await;
    assert_eq!(refused.expect_problem(409, "limit_below_usage")["in_use"], "12.00");
    service.assert_unchanged(&before);
    update(&service, "alice", json!({ "overdraft_limit": "7" })).await.assert(200);
    update(&service, "bob", json!({ "max_balance": "12" })).await.assert(200);
    // Expired holds are no longer in use.
    service.advance_ms(3_600_000);
    update(&service, "alice", json!({ "overdraft_limit": "2" })).await.assert(200);
    update(&service, "alice", json!({ "overdraft_limit": "1.99" }))
        .await
        .expect_problem(409, "limit_below_usage");
}

#[tokio::test]
async fn refuses_bad_input() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("closed", "0").await;
    service.close("closed").await.assert(200);
    let before = service.snapshot();
    for (body, code, pointer) in [
        (json!({ "overdraft_limit": "1.001" }), "amount_scale_exceeded", "/overdraft_limit"),
        (json!({ "max_balance": "1.001" }), "amount_scale_exceeded", "/max_balance"),
        (
            json!({ "overdraft_limit": "999999999999999999999999999" }),
            "amount_out_of_range",
            "/overdraft_limit",
        ),
        (json!({ "overdraft_limit": "-1" }), "amount_not_positive", "/overdraft_limit"),
        (json!({ "max_balance": 5 }), "invalid_amount", "/max_balance"),
        (json!({ "max_balance": "x" }), "invalid_amount", "/max_balance"),
        (json!({ "currency": "EUR" }), "unknown_field", "/currency"),
        (json!({ "metadata": { "a": 1 } }), "validation_failed", "/metadata/a"),
        // Only the maximum can be null, which removes it.
        (json!({ "metadata": null }), "validation_failed", "/metadata"),
        (json!({ "overdraft_limit": null }), "validation_failed", "/overdraft_limit"),
        (json!({ "overdraft_limit": "-0" }), "amount_not_positive", "/overdraft_limit"),
    ] {
        let refused = update(&service, "alice", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    update(&service, "nobody", json!({})).await.expect_problem(404, "account_not_found");
    let body = json!({ "metadata": {} });
    update(&service, "closed", body).await.expect_problem(409, "account_closed");
    service.assert_unchanged(&before);
}

/// The overdraft limit is lowered while transfers use it: it is never below the amount in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_stays_above_the_amount_in_use_while_transfers_race() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "overdraft_limit": "100" });
    service.post("/accounts", body).await.assert(201);
    service.open("bob", "0").await;
    let results = Audit::during(
        &service,
        race_each(0..160_u32, |number| {
            let service = service.clone();
            async move {
                if number % 4 == 0 {
                    let limit = (100 - number / 2).to_string();
                    let body = json!({ "overdraft_limit": limit });
                    let answer = update(&service, "alice", body).await;
                    (true, answer.status.as_u16())
                } else {
                    (false, service.transfer("alice", "bob", "1").await.status.as_u16())
                }
            }
        }),
    )
    .await;
    assert!(results.iter().all(|(limit, status)| match status {
        201 => !limit,
        200 => *limit,
        other => *other == 409,
    }));
    let moved = results.iter().filter(|end| **end == (false, 201)).count();
    assert_eq!(service.balance("bob").await, format!("{moved}.00"));
    assert_eq!(service.balance("alice").await, format!("-{moved}.00"));
}
