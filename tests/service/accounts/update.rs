use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    audit::Audit,
    support::{Answer, Service},
};

async fn update(service: &Service, account: &str, body: Value) -> Answer {
    service.patch(&format!("/accounts/{account}"), body, &[]).await
}

#[tokio::test]
async fn changes_what_is_named_and_nothing_else() {
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
async fn only_the_version_that_was_read() {
    let service = Service::new();
    service.open("alice", "10").await;
    let etag = service.get("/accounts/alice").await.header("etag").unwrap().to_owned();
    let body = json!({ "overdraft_limit": "1" });
    let asking = |tag: String| {
        let (service, body) = (service.clone(), body.clone());
        async move { service.patch("/accounts/alice", body, &[("if-match", &tag)]).await }
    };
    asking(etag.clone()).await.assert(200);
    let before = service.snapshot();
    let refused = asking(etag).await.expect_problem(412, "version_mismatch");
    assert_eq!((&refused["version"], &refused["expected"]), (&json!(2), &json!("1")));
    for tag in [
        "",
        "\"\"",
        "nonsense",
        "\"3\", \"22\"",
        "W/2",
        "\"1 2 3\"",
        "\"02\"",
        "\"2 \"",
        ",",
        "2.0",
    ] {
        asking(tag.to_owned()).await.expect_problem(412, "version_mismatch");
    }
    service.assert_unchanged(&before);
    let refused = asking("\"0\", \"3\"".to_owned()).await.expect_problem(412, "version_mismatch");
    assert_eq!(refused["detail"], "The version is 2, and If-Match asks for 0 3.");
    for tag in ["*", "2", "\"2\"", "W/\"2\"", "\"1\", \"2\"", "W/\"1\", W/\"2\""] {
        asking(tag.to_owned()).await.assert(200);
    }
    let twice = [("if-match", "\"1\""), ("if-match", "\"2\"")];
    service.patch("/accounts/alice", body, &twice).await.assert(200);
}

#[tokio::test]
async fn refuses_limits_below_what_is_in_use() {
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
    // What is held no longer is in use no longer.
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
        // Nothing is named by null but the maximum, which it lifts.
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

/// A limit goes down while transfers use it: it is never below what is in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_and_transfers_race() {
    let service = Service::new();
    let body = json!({ "account_id": "alice", "overdraft_limit": "100" });
    service.post("/accounts", body).await.assert(201);
    service.open("bob", "0").await;
    let ends = Audit::during(&service, async {
        let mut tasks = JoinSet::new();
        for number in 0..160_u32 {
            let service = service.clone();
            tasks.spawn(async move {
                if number % 4 == 0 {
                    let limit = (100 - number / 2).to_string();
                    let body = json!({ "overdraft_limit": limit });
                    let answer = update(&service, "alice", body).await;
                    (true, answer.status.as_u16())
                } else {
                    (false, service.transfer("alice", "bob", "1").await.status.as_u16())
                }
            });
        }
        tasks.join_all().await
    })
    .await;
    assert!(ends.iter().all(|(limit, status)| match status {
        201 => !limit,
        200 => *limit,
        other => *other == 409,
    }));
    let moved = ends.iter().filter(|end| **end == (false, 201)).count();
    assert_eq!(service.balance("bob").await, format!("{moved}.00"));
    assert_eq!(service.balance("alice").await, format!("-{moved}.00"));
}
