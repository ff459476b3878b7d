use serde_json::{Value, json};

use super::{DAY, check, put, rules};
use crate::support::{Process, Service, assert_if_match, operation, race};

#[tokio::test]
async fn creates_and_replaces_a_rule() {
    let service = Service::new();
    let answer = put(&service, "api", &rules(5)[0]).await;
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let mut body = answer.assert(201);
    assert!(body["updated_at"].is_string());
    body.as_object_mut().unwrap().remove("updated_at");
    assert_eq!(
        body,
        json!({
            "policy": "api", "algorithm": "token_bucket", "capacity": 5, "refill_tokens": 1,
            "refill_interval_ms": DAY, "shadow": false, "on_store_error": "error", "version": 1
        })
    );
    let before = service.snapshot();
    assert_eq!(put(&service, "api", &rules(5)[0]).await.assert(200)["version"], 1);
    service.assert_unchanged(&before);
    let answer = put(&service, "api", &rules(6)[0]).await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    assert_eq!(answer.assert(200)["capacity"], 6);
}

/// What was taken counts under the new rule, as far as the algorithms agree.
#[tokio::test]
async fn a_change_takes_effect_at_once() {
    let service = Service::new();
    for (small, large) in rules(5).iter().zip(rules(8)) {
        let service = service.in_new_space();
        put(&service, "p", small).await.assert(201);
        check(&service, "p", 4).await.assert(200);
        put(&service, "p", &large).await.assert(200);
        let left = if small.get("capacity").is_some() { 1 } else { 4 };
        let body = check(&service, "p", 1).await.assert(200);
        assert_eq!((&body["remaining"], &body["limit"]), (&json!(left - 1), &json!(8)), "{small}");
    }
    // Another algorithm begins anew, and back again too.
    for old in rules(5) {
        for new in rules(5) {
            if old["algorithm"] != new["algorithm"] {
                let service = service.in_new_space();
                put(&service, "p", &old).await.assert(201);
                check(&service, "p", 4).await.assert(200);
                put(&service, "p", &new).await.assert(200);
                let body = check(&service, "p", 5).await.assert(200);
                assert_eq!(body["remaining"], 0, "{old} {new}");
            }
        }
    }
}

/// Units that were taken under the old rule count until their old sub-bucket has passed, and those that are taken after
/// the change count by the new ones.
#[tokio::test]
async fn new_units_are_counted_by_the_new_sub_buckets() {
    let service = Service::new();
    let rule = |window_ms: u64| json!({ "algorithm": "sliding_counter", "limit": 5, "window_ms": window_ms, "buckets": 1 });
    let refused = async |key: &str| {
        let take = |cost| json!({ "policy": "p", "key": key, "cost": cost });
        service.post("/ratelimit", take(1)).await.assert(200);
        let refused = service.post("/ratelimit", take(5)).await;
        refused.expect_problem(429, "rate_limited")["retry_after_ms"].as_i64().unwrap()
    };
    put(&service, "p", &rule(1000)).await.assert(201);
    check(&service, "p", 1).await.assert(200);
    put(&service, "p", &rule(DAY)).await.assert(200);
    // Two keys without a past bracket it, in the same sub-bucket: they and the changed one are refused until the same
    // moment.
    let (first, changed, last) = (refused("a").await, refused("k").await, refused("b").await);
    let is_same_day = first >= last;
    assert!(!is_same_day || (last..=first).contains(&changed), "{first} {changed} {last}");
}

/// A window of a few milliseconds has sub-buckets of one.
#[tokio::test]
async fn a_sub_bucket_may_be_a_millisecond() {
    let service = Service::new();
    let rule =
        json!({ "algorithm": "sliding_counter", "limit": 5, "window_ms": 1000, "buckets": 1000 });
    put(&service, "p", &rule).await.assert(201);
    assert_eq!(check(&service, "p", 1).await.assert(200)["remaining"], 4);
    for _ in 0..20 {
        assert!([200, 429].contains(&check(&service, "p", 1).await.status.as_u16()));
    }
}

/// Leases and the log of a window have one key: each clears away what the other has left there.
#[tokio::test]
async fn algorithms_leave_nothing_to_each_other() {
    let service = Service::new();
    for between in rules(5) {
        let service = service.in_new_space();
        let rounds = [&rules(5)[4], &between, &rules(5)[1], &rules(5)[4], &between];
        for rule in rounds {
            put(&service, "p", rule).await;
            assert_eq!(check(&service, "p", 3).await.assert(200)["remaining"], 2, "{between}");
            check(&service, "p", 3).await.expect_problem(429, "rate_limited");
            let reset = json!({ "policy": "p", "key": "k" });
            let body = service.post("/ratelimit/reset", reset.clone()).await.assert(200);
            assert_eq!(body["remaining"], 5, "{rule} after {between}");
            check(&service, "p", 2).await.assert(200);
            check(&service, "p", 3).await.assert(200);
            check(&service, "p", 1).await.expect_problem(429, "rate_limited");
            // In one script, units that were just taken come back too.
            let take = json!({ "policy": "p", "key": "k", "cost": 4 });
            let (reset, take) =
                (operation("ratelimit/reset", reset), operation("ratelimit/check", take));
            let steps = [reset.clone(), take.clone(), reset.clone(), take, reset];
            let answer = service.atomic(&steps).await.assert(200);
            assert_eq!(answer["results"][4]["body"]["remaining"], 5, "{rule}");
        }
    }
}

#[tokio::test]
async fn a_shadow_policy_only_counts() {
    let service = Service::new();
    for mut rule in rules(5) {
        let service = service.in_new_space();
        rule["shadow"] = true.into();
        put(&service, "p", &rule).await.assert(201);
        let body = check(&service, "p", 5).await.assert(200);
        assert_eq!((&body["remaining"], body.get("shadow_denied")), (&json!(0), None), "{rule}");
        let before = service.snapshot();
        let body = check(&service, "p", 1).await.assert(200);
        assert_eq!(
            (&body["allowed"], &body["shadow_denied"]),
            (&json!(true), &json!(true)),
            "{rule}"
        );
        assert!(body["retry_after_ms"].as_u64().unwrap() > 0);
        service.assert_unchanged(&before);
    }
}

/// A cost that can never be admitted is let through too, wherever it is asked for.
#[tokio::test]
async fn a_shadow_policy_lets_a_cost_above_its_limit_through() {
    let service = Service::new();
    for mut rule in rules(5) {
        let service = service.in_new_space();
        put(&service, "strict", &rule).await.assert(201);
        rule["shadow"] = true.into();
        put(&service, "p", &rule).await.assert(201);
        check(&service, "p", 2).await.assert(200);
        let before = service.snapshot();
        let figures = |body: &Value| {
            ["allowed", "shadow_denied", "remaining", "retry_after_ms", "limit", "cost"]
                .map(|name| body[name].clone())
        };
        let expected = [json!(true), json!(true), json!(3), json!(0), json!(5), json!(6)];
        let answer = check(&service, "p", 6).await;
        assert!(answer.header("ratelimit").unwrap().starts_with("\"p\";r=3;"), "{rule}");
        assert_eq!(figures(&answer.assert(200)), expected, "{rule}");
        let peeked = service.get("/ratelimit/peek?policy=p&key=k&cost=6").await.assert(200);
        assert_eq!(figures(&peeked), expected, "{rule}");
        let authorize = service.get("/ratelimit/authorize?policy=p&key=k&cost=6").await;
        assert_eq!(authorize.status.as_u16(), 204, "{rule}");
        let dear = json!({ "policy": "p", "key": "k", "cost": 6 });
        let atomic = [
            operation("ratelimit/check", dear.clone()),
            operation("counters/increment", json!({ "counter": "calls" })),
        ];
        let dry = json!({ "operations": atomic, "dry_run": true });
        let answer = service.post("/atomic", dry).await.assert(200);
        assert_eq!(figures(&answer["results"][0]["body"]), expected, "{rule}");
        service.assert_unchanged(&before);

        // Among others, it takes nothing, and they take what is theirs. What comes after it has the room that it left.
        let small = json!({ "policy": "p", "key": "k", "cost": 3 });
        let checks = json!({ "checks": [dear, small, { "policy": "strict", "key": "k" }] });
        let answer = service.post("/ratelimit/check-all", checks).await.assert(200);
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results[0]["shadow_denied"], true, "{rule}");
        assert_eq!(results[0]["retry_after_ms"], 0, "{rule}");
        assert_eq!(results[1].get("shadow_denied"), None, "{rule}");
        assert_eq!((&results[1]["remaining"], &results[2]["remaining"]), (&json!(0), &json!(4)));
        // Another policy refuses it, and then nothing is taken from any.
        let before = service.snapshot();
        let dear = json!({ "policy": "strict", "key": "k", "cost": 6 });
        let checks = json!({ "checks": [{ "policy": "p", "key": "other" }, dear] });
        let refused = service.post("/ratelimit/check-all", checks).await;
        refused.expect_problem(422, "cost_exceeds_limit");
        service.assert_unchanged(&before);
    }
}

#[tokio::test]
async fn honours_if_match() {
    let service = Service::new();
    put(&service, "p", &rules(5)[0]).await.assert(201);
    let change = service.put("/ratelimit/policies/p", rules(6)[0].clone());
    assert_if_match(&service, 1, change).await;
}

#[tokio::test]
async fn rejects_rules_that_are_none() {
    let service = Service::new();
    for rule in [
        json!({}),
        json!({ "algorithm": "fixed_window" }),
        json!({ "algorithm": "sliding_counter", "limit": 5, "window_ms": 1000, "buckets": 1001 }),
        json!({ "algorithm": "concurrency", "limit": 10_001, "ttl_ms": 1000 }),
        json!({ "algorithm": "concurrency", "limit": 5, "window_ms": 1000 }),
        json!({ "algorithm": "fixed_window", "limit": 5, "window_ms": 1000, "on_store_error": "panic" }),
    ] {
        put(&service, "p", &rule).await.expect_problem(422, "validation_failed");
    }
    let mut nested = rules(5)[0].clone();
    nested["rule"] = Value::Null;
    put(&service, "p", &nested).await.expect_problem(422, "unknown_field");
    put(&service, "%20", &rules(5)[0]).await.expect_problem(422, "invalid_id");
    assert!(service.snapshot().is_empty());
}

/// The rule is read by the script that checks it, so no process can have an old one.
#[tokio::test(flavor = "multi_thread")]
async fn every_process_checks_the_rule_that_is_there() {
    let processes = std::sync::Arc::new([Process::shared(), Process::shared()]);
    let service = Service::new();
    put(&service, "p", &rules(100)[3]).await.assert(201);
    let check = json!({ "policy": "p", "key": "k" });
    let answers = race(150, |task| {
        let (processes, check, space) = (processes.clone(), check.clone(), service.space.clone());
        async move {
            let key = format!("check-{task}");
            processes[task % 2].post(&space, "/ratelimit", &check, &key).await.unwrap()
        }
    })
    .await;
    assert_eq!((answers.count(200), answers.count(429)), (100, 50));
    put(&service, "p", &rules(101)[3]).await.assert(200);
    let answer = processes[0].post(&service.space, "/ratelimit", &check, "last").await.unwrap();
    assert_eq!(answer.assert(200)["remaining"], 0);
}
