use serde_json::{Value, json};

use super::{check, put, rules};
use crate::support::{Service, operation, race};

fn refund(policy: &str, cost: u64) -> Value {
    json!({ "policy": policy, "key": "k", "cost": cost })
}

#[tokio::test]
async fn gives_back_what_was_taken_and_no_more() {
    let service = Service::new();
    for (index, rule) in rules(10).iter().take(4).enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        for cost in [3, 4] {
            check(&service, &policy, cost).await.assert(200);
        }
        let give_back = |cost: u64| service.post("/ratelimit/refund", refund(&policy, cost));
        let body = give_back(5).await.assert(200);
        assert_eq!(
            (&body["refunded"], &body["remaining"], &body["limit"], &body["policy"]),
            (&json!(5), &json!(8), &json!(10), &json!(policy)),
            "{rule}"
        );
        let body = give_back(10).await.assert(200);
        assert_eq!((&body["refunded"], &body["remaining"]), (&json!(2), &json!(10)), "{rule}");
        assert_eq!(give_back(1).await.assert(200)["refunded"], 0);
        assert_eq!(check(&service, &policy, 10).await.assert(200)["remaining"], 0);
    }
}

#[tokio::test]
async fn a_rule_of_the_call_has_its_own_limit() {
    let service = Service::new();
    let mut body = rules(10)[1].clone();
    body["key"] = "k".into();
    body["cost"] = 6.into();
    service.post("/ratelimit", body.clone()).await.assert(200);
    body["cost"] = 2.into();
    let refunded = service.post("/ratelimit/refund", body).await.assert(200);
    assert_eq!((&refunded["remaining"], refunded.get("policy")), (&json!(6), None));
}

#[tokio::test]
async fn a_repeat_gives_back_once() {
    let service = Service::new();
    put(&service, "p", &rules(10)[2]).await.assert(201);
    check(&service, "p", 8).await.assert(200);
    for replayed in [false, true] {
        let answer = service.post("/ratelimit/refund", refund("p", 3)).key("r").await;
        assert_eq!(answer.replayed(), replayed);
        assert_eq!(answer.assert(200)["remaining"], 5);
    }
}

#[tokio::test]
async fn refund_and_check_in_one_step() {
    let service = Service::new();
    for (index, rule) in rules(10).iter().take(4).enumerate() {
        let policy = format!("p{index}");
        put(&service, &policy, rule).await.assert(201);
        check(&service, &policy, 10).await.assert(200);
        let take = |cost: u64| operation("ratelimit/check", refund(&policy, cost));
        let give = |cost: u64| operation("ratelimit/refund", refund(&policy, cost));
        let answer = service.atomic(&[give(4), take(3), give(2), take(1)]).await.assert(200);
        let left =
            [0, 1, 2, 3].map(|step: usize| answer["results"][step]["body"]["remaining"].clone());
        assert_eq!(left, [4, 1, 3, 2], "{rule}");
        assert_eq!(check(&service, &policy, 2).await.assert(200)["remaining"], 0, "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takers_and_givers_end_at_the_limit() {
    let service = Service::new();
    put(&service, "p", &rules(1000)[1]).await.assert(201);
    check(&service, "p", 500).await.assert(200);
    let answers = race(200, |task| {
        let path = if task % 2 == 0 { "/ratelimit" } else { "/ratelimit/refund" };
        service.post(path, refund("p", 1))
    })
    .await;
    assert_eq!(answers.count(200), 200);
    assert_eq!(check(&service, "p", 1).await.assert(200)["remaining"], 499);
}

#[tokio::test]
async fn rejects_what_has_no_units() {
    let service = Service::new();
    let post = |body: Value| service.post("/ratelimit/refund", body);
    assert_eq!(
        post(refund("gone", 1)).await.expect_problem(404, "policy_not_found")["policy"],
        "gone"
    );
    put(&service, "leases", &rules(5)[4]).await.assert(201);
    let refused = post(refund("leases", 1)).await.expect_problem(422, "algorithm_mismatch");
    assert_eq!(refused["algorithm"], "concurrency");
    post(refund("p", 0)).await.expect_problem(422, "validation_failed");
    post(json!({ "key": "k" })).await.expect_problem(422, "validation_failed");
}
