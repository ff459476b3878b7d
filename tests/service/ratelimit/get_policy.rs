use serde_json::json;

use super::{put, rules};
use crate::support::Service;

#[tokio::test]
async fn answers_what_was_put() {
    let service = Service::new();
    for (index, mut rule) in rules(5).into_iter().enumerate() {
        rule["on_store_error"] = "error".into();
        let written = put(&service, "p", &rule).await.body;
        let answer = service.get("/ratelimit/policies/p").await;
        assert_eq!(answer.header("etag"), Some(format!("\"{}\"", index + 1)).as_deref());
        let body = answer.assert(200);
        assert_eq!(body, written);
        for (field, value) in rule.as_object().unwrap() {
            assert_eq!(&body[field], value, "{field}");
        }
    }
}

#[tokio::test]
async fn an_unknown_name_is_404() {
    let service = Service::new();
    let refused = service.get("/ratelimit/policies/gone").await;
    assert_eq!(refused.expect_problem(404, "policy_not_found")["policy"], json!("gone"));
    service.get("/ratelimit/policies/%7B").await.expect_problem(422, "invalid_id");
}
