use serde_json::json;

use super::{check, put, rules};
use crate::support::Service;

#[tokio::test]
async fn a_deleted_policy_denies_and_allows_nothing() {
    let service = Service::new();
    put(&service, "p", &rules(5)[0]).await.assert(201);
    check(&service, "p", 4).await.assert(200);
    let body = service.delete("/ratelimit/policies/p").await.assert(200);
    assert_eq!(body, json!({ "policy": "p", "deleted": true }));
    check(&service, "p", 1).await.expect_problem(404, "policy_not_found");
    service.delete("/ratelimit/policies/p").await.expect_problem(404, "policy_not_found");
    assert_eq!(service.get("/ratelimit/policies").await.assert(200), json!({ "policies": [] }));
    // What was taken is still there when the policy comes back.
    put(&service, "p", &rules(5)[0]).await.assert(201);
    assert_eq!(check(&service, "p", 1).await.assert(200)["remaining"], 0);
}

#[tokio::test]
async fn deletes_only_the_version_that_is_meant() {
    let service = Service::new();
    put(&service, "p", &rules(5)[0]).await.assert(201);
    put(&service, "p", &rules(6)[0]).await.assert(200);
    let answer = service.delete("/ratelimit/policies/p").if_match("\"1\"").await;
    answer.expect_problem(412, "version_mismatch");
    service.delete("/ratelimit/policies/p").if_match("W/\"2\"").await.assert(200);
}
