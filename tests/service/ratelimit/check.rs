use serde_json::{Value, json};

use crate::support::{Call, Process, Service, operation, race};

fn bucket(capacity: u64, tokens: u64, interval_ms: u64) -> Value {
    json!({
        "key": "k", "capacity": capacity, "refill_tokens": tokens, "refill_interval_ms": interval_ms
    })
}

fn window(limit: u64, window_ms: u64) -> Value {
    json!({ "key": "k", "algorithm": "sliding_window", "limit": limit, "window_ms": window_ms })
}

fn check(service: &Service, rule: &Value, cost: u64) -> Call {
    let mut body = rule.clone();
    body["cost"] = cost.into();
    service.post("/ratelimit", body)
}

/// A day in milliseconds, so that the duration of a test does not matter.
const DAY: u64 = 86_400_000;

#[tokio::test]
async fn an_empty_bucket_names_the_time_until_a_token() {
    let service = Service::new();
    let rule = bucket(5, 1, DAY);
    let answer = check(&service, &rule, 3).await;
    assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=5;w=432000"));
    assert_eq!(answer.header("ratelimit"), Some("\"default\";r=2;t=259200"));
    assert_eq!(
        answer.assert(200),
        json!({
            "key": "k", "allowed": true, "limit": 5, "remaining": 2, "retry_after_ms": 0,
            "reset_after_ms": 3 * DAY, "cost": 3
        })
    );
    let before = service.snapshot();
    let answer = check(&service, &rule, 3).await;
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(answer.header("ratelimit").unwrap().starts_with("\"default\";r=2;t="));
    let refused = answer.expect_problem(429, "rate_limited");
    let retry_after_ms = refused["retry_after_ms"].as_u64().unwrap();
    assert_eq!(seconds, retry_after_ms.div_ceil(1000));
    assert!((DAY - 60_000..=DAY).contains(&retry_after_ms), "{retry_after_ms}");
    assert_eq!((&refused["allowed"], &refused["remaining"]), (&json!(false), &json!(2)));
    service.assert_unchanged(&before);
    service.advance_ms(i64::try_from(retry_after_ms).unwrap());
    assert_eq!(check(&service, &rule, 3).await.assert(200)["remaining"], 0);
}

#[tokio::test]
async fn a_denial_can_be_answered_200() {
    let service = Service::new();
    let mut rule = bucket(1, 1, DAY);
    check(&service, &rule, 1).await.assert(200);
    rule["on_deny"] = "200".into();
    let body = check(&service, &rule, 1).await.assert(200);
    assert_eq!(
        (&body["allowed"], &body["remaining"], &body["limit"]),
        (&json!(false), &json!(0), &json!(1))
    );
}

#[tokio::test]
async fn a_denial_is_not_recorded_under_the_key() {
    let service = Service::new();
    let rule = bucket(1, 1, DAY);
    service.post("/ratelimit", rule.clone()).key("one").await.assert(200);
    service.post("/ratelimit", rule.clone()).key("two").await.expect_problem(429, "rate_limited");
    service.advance_ms(i64::try_from(DAY).unwrap());
    let answer = service.post("/ratelimit", rule.clone()).key("two").await;
    assert!(!answer.replayed());
    answer.assert(200);
    assert!(service.post("/ratelimit", rule).key("two").await.replayed());
}

#[tokio::test]
async fn requests_leave_the_window_after_its_length() {
    let service = Service::new();
    let rule = window(10, DAY);
    check(&service, &rule, 4).await.assert(200);
    service.advance_ms(1000);
    check(&service, &rule, 6).await.assert(200);
    let body = check(&service, &rule, 5).await.expect_problem(429, "rate_limited");
    // Five fit only when the six have left the window, which came a second after the four.
    let wait = body["retry_after_ms"].as_u64().unwrap();
    assert!((DAY - 60_000..=DAY).contains(&wait), "{wait}");
    let sooner = check(&service, &rule, 4).await.expect_problem(429, "rate_limited");
    assert!(sooner["retry_after_ms"].as_u64().unwrap() + 1000 <= wait);
    service.advance_ms(i64::try_from(wait).unwrap());
    assert_eq!(check(&service, &rule, 5).await.assert(200)["remaining"], 5);
}

/// Each window counts separately: the shorter one does not delete what the longer one counts.
#[tokio::test]
async fn windows_of_two_lengths_count_separately() {
    let service = Service::new();
    let (short, long) = (window(5, 1000), window(100, DAY));
    check(&service, &long, 90).await.assert(200);
    service.advance_ms(1000);
    for _ in 0..5 {
        check(&service, &short, 1).await.assert(200);
    }
    assert_eq!(check(&service, &long, 10).await.assert(200)["remaining"], 0);
    check(&service, &long, 1).await.expect_problem(429, "rate_limited");
    // The same in one script.
    let other = service.in_new_space();
    check(&other, &long, 90).await.assert(200);
    other.advance_ms(1000);
    let ask = |rule: &Value, cost: u64| {
        let mut input = rule.clone();
        input["cost"] = cost.into();
        operation("ratelimit/check", input)
    };
    let answer = other.atomic(&[ask(&short, 1), ask(&long, 10), ask(&short, 4)]).await.assert(200);
    let left = [0, 1, 2].map(|index: usize| answer["results"][index]["body"]["remaining"].clone());
    assert_eq!(left, [4, 0, 0]);
    other.atomic(&[ask(&short, 1), ask(&long, 1)]).await.expect_problem(429, "rate_limited");
}

/// The largest numbers come back unchanged from the record of an idempotency key.
#[tokio::test]
async fn a_repeat_returns_large_numbers_exactly() {
    let service = Service::new();
    let rule = bucket((1 << 53) - 1, 1000, 1);
    for replayed in [false, true] {
        let answer = service.post("/ratelimit", rule.clone()).key("k").await;
        assert_eq!(answer.replayed(), replayed);
        let body = answer.assert(200);
        assert_eq!(
            (&body["limit"], &body["remaining"]),
            (&json!(9_007_199_254_740_991_i64), &json!(9_007_199_254_740_990_i64))
        );
    }
}

#[tokio::test]
async fn a_cost_above_the_limit_is_refused() {
    let service = Service::new();
    for rule in [bucket(5, 1, DAY), window(5, DAY)] {
        let refused = check(&service, &rule, 6).await.expect_problem(422, "cost_exceeds_limit");
        assert_eq!((&refused["cost"], &refused["limit"]), (&json!(6), &json!(5)));
    }
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn a_policy_that_does_not_exist_is_refused() {
    let service = Service::new();
    let body = json!({ "policy": "gone", "key": "k" });
    let refused = service.post("/ratelimit", body).await.expect_problem(404, "policy_not_found");
    assert_eq!(refused["policy"], "gone");
    let mut both = bucket(5, 1, DAY);
    both["policy"] = "gone".into();
    service.post("/ratelimit", both).await.expect_problem(422, "validation_failed");
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn refuses_invalid_rules() {
    let service = Service::new();
    let mut rules = vec![
        bucket(0, 1, DAY),
        bucket(1, 0, DAY),
        bucket(1, 1, 0),
        window(0, DAY),
        window(10_001, DAY),
    ];
    rules.push(bucket(u64::MAX, 1, DAY));
    rules.push(json!({ "key": "k" }));
    rules.push(json!({ "key": "k", "algorithm": "sliding_window", "capacity": 5, "limit": 1, "window_ms": 1 }));
    rules.push(json!({ "key": "k", "limit": 1, "capacity": 1, "refill_tokens": 1, "refill_interval_ms": 1 }));
    rules.push(json!({ "key": "k", "algorithm": "leaky" }));
    for rule in rules {
        service.post("/ratelimit", rule).await.expect_problem(422, "validation_failed");
    }
    check(&service, &bucket(5, 1, DAY), 0).await.expect_problem(422, "validation_failed");
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn a_changed_rule_keeps_whole_tokens() {
    let service = Service::new();
    check(&service, &bucket(10, 1, DAY), 4).await.assert(200);
    assert_eq!(check(&service, &bucket(8, 7, DAY), 1).await.assert(200)["remaining"], 5);
}

#[tokio::test]
async fn every_record_has_an_expiry() {
    let service = Service::new();
    check(&service, &bucket(10, 1, 1000), 4).await.assert(200);
    check(&service, &window(10, 1000), 4).await.assert(200);
    let mut connection = service.raw();
    for (key, _) in service.snapshot() {
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut connection).unwrap();
        assert!(ttl != -1, "{key} has no end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_are_admitted_exactly_up_to_the_limit() {
    for rule in [bucket(50, 1, DAY), window(50, DAY)] {
        let service = Service::new();
        let answers = race(1000, |_| check(&service, &rule, 1)).await;
        assert_eq!(answers.count(200), 50, "{rule}");
        assert_eq!(answers.count(429), 950, "{rule}");
        assert_eq!(answers.count_code("rate_limited"), 950, "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_admit_exactly_the_limit() {
    let processes = std::sync::Arc::new([Process::shared(), Process::shared()]);
    for rule in [bucket(50, 1, DAY), window(50, DAY)] {
        let space = crate::support::unique("quota-");
        let answers = race(1000, |task| {
            let (processes, rule, space) = (processes.clone(), rule.clone(), space.clone());
            async move {
                let key = format!("check-{task}");
                processes[task % 2].post(&space, "/ratelimit", &rule, &key).await.unwrap()
            }
        })
        .await;
        assert_eq!(answers.count(200), 50, "{rule}");
    }
}
