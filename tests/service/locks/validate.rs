use serde_json::json;

use super::{acquire, release};
use crate::support::Service;

#[tokio::test]
async fn only_the_token_of_a_living_lease_is_valid() {
    let service = Service::new();
    let validate = |lock: &str, token: &serde_json::Value| {
        service.post("/locks/validate", json!({ "lock": lock, "fencing_token": token }))
    };
    let refused = validate("l", &json!(1)).await.expect_problem(412, "stale_fencing_token");
    assert!(refused["last_fencing_token"].is_null());
    let first = acquire(&service, json!({ "ttl_ms": 86_400_000 })).await.assert(201);
    let token = &first["fencing_token"];
    let valid = validate("l", token).await.assert(200);
    assert_eq!((&valid["valid"], &valid["fencing_token"]), (&json!(true), token));
    assert_eq!(valid["expires_at"], first["expires_at"]);
    validate("other", token).await.expect_problem(412, "stale_fencing_token");
    for never in [1, token.as_u64().unwrap() + 1, token.as_u64().unwrap() - 1] {
        validate("l", &json!(never)).await.expect_problem(412, "stale_fencing_token");
    }
    service.advance_ms(86_400_000);
    validate("l", token).await.expect_problem(412, "stale_fencing_token");
    let second = acquire(&service, json!({})).await.assert(201);
    validate("l", token).await.expect_problem(412, "stale_fencing_token");
    validate("l", &second["fencing_token"]).await.assert(200);
    release(&service, "l", &second["lease_id"]).await.assert(200);
    validate("l", &second["fencing_token"]).await.expect_problem(412, "stale_fencing_token");
}

#[tokio::test]
async fn refuses_invalid_input() {
    let service = Service::new();
    for (lock, token, code) in [
        ("a/b", json!(1), "invalid_id"),
        ("renew", json!(1), "invalid_id"),
        ("l", json!(0), "validation_failed"),
        ("l", json!("1"), "validation_failed"),
        ("l", json!(1.5), "validation_failed"),
        ("l", json!(9_007_199_254_740_992_u64), "validation_failed"),
    ] {
        let body = json!({ "lock": lock, "fencing_token": token });
        service.post("/locks/validate", body).await.expect_problem(422, code);
    }
}
