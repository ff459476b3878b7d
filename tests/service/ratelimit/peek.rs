use serde_json::json;

use super::{check, put, rules};
use crate::support::Service;

#[tokio::test]
async fn tells_the_decision_and_writes_nothing() {
    let service = Service::new();
    for (index, rule) in rules(5).iter().enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        check(&service, &policy, 3).await.assert(200);
        let before = service.snapshot();
        let peek =
            |cost: u64| service.get(&format!("/ratelimit/peek?policy={policy}&key=k&cost={cost}"));
        let allowed = peek(2).await.assert(200);
        assert_eq!(
            (&allowed["allowed"], &allowed["remaining"], &allowed["cost"], &allowed["policy"]),
            (&json!(true), &json!(2), &json!(2), &json!(policy)),
            "{rule}"
        );
        let answer = peek(3).await;
        assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"{policy}\";r=2;t=")));
        let denied = answer.assert(200);
        assert_eq!(denied["allowed"], false, "{rule}");
        assert!(denied["retry_after_ms"].as_u64().unwrap() > 0);
        peek(6).await.expect_problem(422, "cost_exceeds_limit");
        service.assert_unchanged(&before);
        check(&service, &policy, 2).await.assert(200);
    }
}

#[tokio::test]
async fn rejects_what_is_no_limit() {
    let service = Service::new();
    let peek = |query: &str| service.get(&format!("/ratelimit/peek?{query}"));
    let refused = peek("policy=gone&key=k").await.expect_problem(404, "policy_not_found");
    assert_eq!(refused["policy"], "gone");
    for query in [
        "",
        "policy=p",
        "key=k",
        "policy=p&key=k&cost=x",
        "policy=p&key=k&limit=5",
        "policy=%20&key=k",
    ] {
        peek(query).await.expect_problem(400, "invalid_query");
    }
    peek("policy=p&key=k&cost=0").await.expect_problem(400, "invalid_query");
}

#[tokio::test]
async fn keys_are_any_printable_text() {
    let service = Service::new();
    put(&service, "p", &rules(5)[3]).await.assert(201);
    for (key, encoded) in [
        ("::1", "::1"),
        ("auth0|u@x", "auth0%7Cu@x"),
        ("GET /foo", "GET%20/foo"),
        ("\\ä\"", "%5C%C3%A4%22"),
    ] {
        let body = json!({ "policy": "p", "key": key, "cost": 4 });
        assert_eq!(service.post("/ratelimit", body.clone()).await.assert(200)["key"], key);
        let peeked =
            service.get(&format!("/ratelimit/peek?policy=p&key={encoded}")).await.assert(200);
        assert_eq!((&peeked["key"], &peeked["remaining"]), (&json!(key), &json!(1)));
        let refused = service.post("/ratelimit", body).await.expect_problem(429, "rate_limited");
        assert_eq!(refused["key"], key);
    }
}
