use serde_json::{Value, json};

use super::{check, put, rules};
use crate::support::{Service, operation};

#[tokio::test]
async fn makes_a_limit_whole_again() {
    let service = Service::new();
    for (index, rule) in rules(5).iter().enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        for cost in [2, 3] {
            check(&service, &policy, cost).await.assert(200);
        }
        check(&service, &policy, 1).await.expect_problem(429, "rate_limited");
        let body = json!({ "policy": policy, "key": "k" });
        let body = service.post("/ratelimit/reset", body).await.assert(200);
        assert_eq!((&body["remaining"], &body["limit"]), (&json!(5), &json!(5)), "{rule}");
        assert_eq!(check(&service, &policy, 5).await.assert(200)["remaining"], 0, "{rule}");
        let other = json!({ "policy": policy, "key": "never seen" });
        assert_eq!(service.post("/ratelimit/reset", other).await.assert(200)["remaining"], 5);
    }
}

/// A lease that a reset has ended gives back nothing when it is released, and is not there any more.
#[tokio::test]
async fn a_reset_ends_every_lease() {
    let service = Service::new();
    put(&service, "p", &rules(5)[4]).await.assert(201);
    let mut leases = Vec::new();
    for cost in [1, 2, 2] {
        leases.push(check(&service, "p", cost).await.assert(200)["lease_id"].clone());
    }
    service.post("/ratelimit/reset", json!({ "policy": "p", "key": "k" })).await.assert(200);
    for lease_id in leases {
        let body = json!({ "policy": "p", "key": "k", "lease_id": lease_id });
        service.post("/ratelimit/release", body).await.expect_problem(404, "lease_not_found");
    }
    assert_eq!(check(&service, "p", 5).await.assert(200)["remaining"], 0);
}

/// A reset also ends a lease that an earlier operation of the same call has given.
#[tokio::test]
async fn a_reset_ends_a_lease_of_its_own_call() {
    let service = Service::new();
    put(&service, "p", &rules(5)[4]).await.assert(201);
    let limit = json!({ "policy": "p", "key": "k" });
    let steps = [operation("ratelimit/check", limit.clone()), operation("ratelimit/reset", limit)];
    let answer = service.atomic(&steps).await.assert(200);
    let lease_id = &answer["results"][0]["body"]["lease_id"];
    let body = json!({ "policy": "p", "key": "k", "lease_id": lease_id });
    service.post("/ratelimit/release", body).await.expect_problem(404, "lease_not_found");
    assert_eq!(check(&service, "p", 5).await.assert(200)["remaining"], 0);
}

#[tokio::test]
async fn rejects_what_is_no_limit() {
    let service = Service::new();
    let post = |body: Value| service.post("/ratelimit/reset", body);
    let refused = post(json!({ "policy": "gone", "key": "k" })).await;
    assert_eq!(refused.expect_problem(404, "policy_not_found")["policy"], "gone");
    post(json!({ "key": "k" })).await.expect_problem(422, "validation_failed");
    post(json!({ "policy": "p" })).await.expect_problem(422, "validation_failed");
}
