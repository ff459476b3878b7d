use std::sync::Arc;

use serde_json::{Value, json};

use super::{DAY, check, put, rules};
use crate::support::{Process, Service, operation, race, unique};

fn one(rule: &Value, key: &str, cost: u64) -> Value {
    let mut check = rule.clone();
    check["key"] = key.into();
    check["cost"] = cost.into();
    check
}

#[tokio::test]
async fn takes_of_all_limits_or_of_none() {
    let service = Service::new();
    let [bucket, window, counter, fixed, leases] = rules(10);
    let all = |cost: u64| {
        let rules = [&bucket, &window, &counter, &fixed, &leases];
        let checks: Vec<Value> = rules.iter().map(|rule| one(rule, "k", cost)).collect();
        service.post("/ratelimit/check-all", json!({ "checks": checks }))
    };
    let answer = all(4).await;
    let header = answer.header("ratelimit").unwrap().to_owned();
    assert_eq!(header.matches("\"default\";r=6").count(), 5, "{header}");
    let body = answer.assert(200);
    assert_eq!(body["allowed"], true);
    for result in body["results"].as_array().unwrap() {
        assert_eq!(
            (&result["allowed"], &result["remaining"]),
            (&json!(true), &json!(6)),
            "{result}"
        );
    }
    assert!(body["results"][4]["lease_id"].is_string());
    assert!(body["results"][0].get("lease_id").is_none());
    // One limit has too little, so none is touched.
    service.post("/ratelimit", one(&fixed, "k", 3)).await.assert(200);
    let before = service.snapshot();
    let answer = all(4).await;
    assert!(answer.header("retry-after").is_some());
    let refused = answer.expect_problem(429, "rate_limited");
    let violations = refused["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 1, "{refused}");
    assert_eq!((&violations[0]["index"], &violations[0]["remaining"]), (&json!(3), &json!(3)));
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn every_violated_limit_is_named_and_the_longest_wait_is_enough() {
    let service = Service::new();
    let window = |window_ms: u64| json!({ "algorithm": "sliding_window", "limit": 1, "window_ms": window_ms });
    let (short, long) = (window(DAY), window(2 * DAY));
    let checks = json!([one(&short, "a\"\\", 1), one(&long, "b", 1)]);
    let all = || service.post("/ratelimit/check-all", json!({ "checks": checks }));
    all().await.assert(200);
    let refused = all().await.expect_problem(429, "rate_limited");
    let violations = refused["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 2);
    assert_eq!(violations[0]["key"], "a\"\\");
    let waits = [0, 1].map(|index: usize| violations[index]["retry_after_ms"].as_u64().unwrap());
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    assert_eq!(wait, waits[0].max(waits[1]));
    assert_eq!(refused["key"], "b");
    service.advance_ms(i64::try_from(waits[0]).unwrap());
    let refused = all().await.expect_problem(429, "rate_limited");
    assert_eq!(refused["violations"].as_array().unwrap().len(), 1);
    service.advance_ms(i64::try_from(wait - waits[0]).unwrap());
    all().await.assert(200);
}

#[tokio::test]
async fn the_first_of_those_with_the_longest_wait_is_named() {
    let service = Service::new();
    let fixed = &rules(1)[3];
    let checks = json!({ "checks": [one(fixed, "a", 1), one(fixed, "b", 1), one(fixed, "c", 1)] });
    service.post("/ratelimit/check-all", checks.clone()).await.assert(200);
    let refused = service.post("/ratelimit/check-all", checks).await;
    let refused = refused.expect_problem(429, "rate_limited");
    assert_eq!((&refused["key"], &refused["violations"][2]["key"]), (&json!("a"), &json!("c")));
}

#[tokio::test]
async fn two_checks_of_one_limit_count_together() {
    let service = Service::new();
    for rule in rules(5) {
        let service = service.in_new_space();
        let twice = |cost: u64| {
            let checks = json!([one(&rule, "k", cost), one(&rule, "k", cost)]);
            service.post("/ratelimit/check-all", json!({ "checks": checks }))
        };
        twice(3).await.expect_problem(422, "cost_exceeds_limit");
        let body = twice(2).await.assert(200);
        let left = [0, 1].map(|index: usize| body["results"][index]["remaining"].clone());
        assert_eq!(left, [1, 1], "{rule}");
        twice(1).await.expect_problem(429, "rate_limited");
    }
}

#[tokio::test]
async fn policies_and_rules_are_checked_together() {
    let service = Service::new();
    put(&service, "api", &rules(2)[0]).await.assert(201);
    let checks = json!([{ "policy": "api", "key": "k" }, one(&rules(5)[3], "k", 1)]);
    let answer = service.post("/ratelimit/check-all", json!({ "checks": checks })).await;
    assert!(answer.header("ratelimit-policy").unwrap().starts_with("\"api\";q=2;w="));
    let body = answer.assert(200);
    assert_eq!(
        (&body["results"][0]["policy"], body["results"][1].get("policy")),
        (&json!("api"), None)
    );
    assert_eq!(check(&service, "api", 1).await.assert(200)["remaining"], 0);
    let denied = json!({ "checks": checks, "on_deny": "200" });
    let body = service.post("/ratelimit/check-all", denied).await.assert(200);
    assert_eq!((&body["allowed"], &body["results"][0]["policy"]), (&json!(false), &json!("api")));
    let unknown = json!({ "checks": [{ "policy": "gone", "key": "k" }] });
    let answer = service.post("/ratelimit/check-all", unknown).await;
    assert_eq!(answer.expect_problem(404, "policy_not_found")["policy"], "gone");
}

#[tokio::test]
async fn is_an_operation_of_atomic() {
    let service = Service::new();
    let checks = |cost: u64| json!({ "checks": [one(&rules(5)[2], "k", cost)] });
    let count = operation("counters/increment", json!({ "counter": "c" }));
    let both = |cost: u64| [count.clone(), operation("ratelimit/check_all", checks(cost))];
    service.atomic(&both(4)).await.assert(200);
    let before = service.snapshot();
    service.atomic(&both(4)).await.expect_problem(429, "rate_limited");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn rejects_what_cannot_be_checked() {
    let service = Service::new();
    let post = |body: Value| service.post("/ratelimit/check-all", body);
    post(json!({ "checks": [] })).await.expect_problem(422, "validation_failed");
    let many: Vec<Value> = (0..33).map(|key| one(&rules(5)[0], &key.to_string(), 1)).collect();
    post(json!({ "checks": many })).await.expect_problem(422, "validation_failed");
    let both = json!({ "key": "k", "policy": "api", "limit": 5 });
    let refused = post(json!({ "checks": [one(&rules(5)[0], "k", 1), both] })).await;
    let refused = refused.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/checks/1/limit");
    let refused = post(json!({ "checks": [{ "key": "", "policy": "api" }] })).await;
    assert_eq!(
        refused.expect_problem(422, "validation_failed")["errors"][0]["pointer"],
        "/checks/0/key"
    );
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn its_name_may_be_written_as_its_path() {
    let service = Service::new();
    let body = json!({ "checks": [one(&rules(2)[0], "k", 1)] });
    let steps =
        ["ratelimit/check-all", "ratelimit/check_all"].map(|name| operation(name, body.clone()));
    let answer = service.atomic(&steps).await.assert(200);
    assert_eq!(answer["results"][1]["body"]["results"][0]["remaining"], 0);
}

/// Every limit admits exactly its units, also while others are denied by another one.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_admit_exactly_the_smallest_limit() {
    let processes = Arc::new([Process::shared(), Process::shared()]);
    let rules = Arc::new([rules(90), rules(30), rules(70)]);
    let space = unique("quota-");
    let answers = race(600, |task| {
        let (processes, rules, space) = (processes.clone(), rules.clone(), space.clone());
        async move {
            let checks: Vec<Value> =
                (0..3).map(|index| one(&rules[index][task % 5], &format!("k{index}"), 1)).collect();
            let body = json!({ "checks": checks });
            let key = format!("check-{task}");
            processes[task % 2].post(&space, "/ratelimit/check-all", &body, &key).await.unwrap()
        }
    })
    .await;
    assert_eq!(answers.count(200), 5 * 30);
    assert_eq!(answers.count(429), 450);
}

/// A refusal of one check names it, whether the service or the script has refused.
#[tokio::test]
async fn a_refused_check_is_pointed_at() {
    let service = Service::new();
    put(&service, "p", &rules(5)[3]).await.assert(201);
    let of_policy = |cost: u64| json!({ "policy": "p", "key": "k", "cost": cost });
    let unknown = json!({ "policy": "gone", "key": "k" });
    for (last, code, status, pointer) in [
        (of_policy(6), "cost_exceeds_limit", 422, "/checks/1/cost"),
        // Two of one limit count together.
        (of_policy(4), "cost_exceeds_limit", 422, "/checks/1/cost"),
        (one(&rules(5)[0], "k", 6), "cost_exceeds_limit", 422, "/checks/1/cost"),
        (unknown, "policy_not_found", 404, "/checks/1/policy"),
    ] {
        let body = json!({ "checks": [of_policy(2), last] });
        let refused = service.post("/ratelimit/check-all", body.clone()).await;
        let refused = refused.expect_problem(status, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
        let step = operation("ratelimit/check_all", body);
        let other = operation("counters/increment", json!({ "counter": "c" }));
        let refused = service.atomic(&[other, step]).await.expect_problem(status, code);
        let pointer = format!("/operations/1/input{pointer}");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    let dear = service.post("/ratelimit", of_policy(6)).await;
    let refused = dear.expect_problem(422, "cost_exceeds_limit");
    assert_eq!(refused["errors"][0]["pointer"], "/cost");
}
