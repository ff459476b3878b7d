//! Denials that this process answers without asking the store.

use lockstep::ratelimit::follow_policies;
use serde_json::{Value, json};

use super::{DAY, put, rules};
use crate::support::{Answer, Call, Server, Service, operation, race, wait_until};

fn check(service: &Service, rule: &Value, cost: u64) -> Call {
    let mut body = rule.clone();
    (body["key"], body["cost"]) = ("k".into(), cost.into());
    service.post("/ratelimit", body)
}

#[track_caller]
fn assert_denied_by(answer: Answer, by: Option<&str>) -> Value {
    let body = answer.expect_problem(429, "rate_limited");
    assert_eq!(body.get("decided_by").and_then(Value::as_str), by, "{body:#}");
    body
}

/// Uses a limit up and has its denial remembered.
async fn used_up(service: &Service, rule: &Value, limit: u64) {
    check(service, rule, limit).await.assert(200);
    assert_denied_by(check(service, rule, 1).await, None);
    assert_denied_by(check(service, rule, 1).await, Some("local"));
}

#[tokio::test]
async fn the_same_check_is_denied_again_without_the_store() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    for rule in &rules(5)[..4] {
        let service = service.in_new_space();
        check(&service, rule, 4).await.assert(200);
        let answer = check(&service, rule, 2).await;
        let header = answer.header("ratelimit").unwrap().to_owned();
        let first = assert_denied_by(answer, None);
        let hanging = server.hang();
        let answer = check(&service, rule, 2).await;
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        let (name, time) = answer.header("ratelimit").unwrap().rsplit_once('=').unwrap();
        assert_eq!(
            (Some(name), time),
            (header.rsplit_once('=').map(|(name, _)| name), seconds.to_string().as_str())
        );
        assert!(answer.header("ratelimit-policy").is_some());
        let mut again = assert_denied_by(answer, Some("local"));
        drop(hanging);
        assert!(again["retry_after_ms"].as_u64().unwrap().div_ceil(1000) == seconds);
        for name in ["retry_after_ms", "reset_after_ms"] {
            let (before, after) = (first[name].as_u64().unwrap(), again[name].as_u64().unwrap());
            assert!(after <= before && after + 60_000 > before, "{name}: {before}, {after}");
            again[name] = before.into();
        }
        for name in [
            "key",
            "policy",
            "allowed",
            "limit",
            "remaining",
            "cost",
            "window_ms",
            "retry_after_ms",
        ] {
            assert_eq!(first[name], again[name], "{name}");
        }
        // A smaller cost fits, and a greater one has a wait of its own.
        let greater = assert_denied_by(check(&service, rule, 3).await, None);
        assert!(
            greater["retry_after_ms"].as_u64()
                >= first["retry_after_ms"].as_u64().map(|ms| ms - 60_000)
        );
        assert_eq!(check(&service, rule, 1).await.assert(200)["remaining"], 0);
    }
}

#[tokio::test]
async fn waits_go_on_and_after_two_seconds_the_store_is_asked() {
    let service = Service::new();
    let rule = &rules(5)[3];
    used_up(&service, rule, 5).await;
    let mut last = assert_denied_by(check(&service, rule, 1).await, Some("local"));
    for _ in 0..3 {
        service.advance_ms(600);
        let body = assert_denied_by(check(&service, rule, 1).await, Some("local"));
        let waits = [&last, &body].map(|body| body["retry_after_ms"].as_u64().unwrap());
        assert!(waits[1] + 600 <= waits[0], "{waits:?}");
        last = body;
    }
    service.advance_ms(200);
    assert_denied_by(check(&service, rule, 1).await, None);
}

/// The wait that a local denial names is enough, and with it the denial ends.
#[tokio::test]
async fn the_wait_of_a_local_denial_is_enough() {
    let service = Service::new();
    let rule = json!({ "algorithm": "sliding_window", "limit": 1, "window_ms": 60_000 });
    check(&service, &rule, 1).await.assert(200);
    service.advance_ms(58_500);
    assert_denied_by(check(&service, &rule, 1).await, None);
    let body = assert_denied_by(check(&service, &rule, 1).await, Some("local"));
    let wait = body["retry_after_ms"].as_i64().unwrap();
    assert!(wait <= 1500, "{wait}");
    service.advance_ms(wait);
    check(&service, &rule, 1).await.assert(200);
}

#[tokio::test]
async fn a_denial_can_be_a_plain_answer() {
    let service = Service::new();
    let mut rule = rules(5)[0].clone();
    used_up(&service, &rule, 5).await;
    rule["on_deny"] = "200".into();
    let body = check(&service, &rule, 1).await.assert(200);
    assert_eq!((&body["allowed"], &body["decided_by"]), (&json!(false), &json!("local")));
}

/// Whatever gives units back in this process ends the denial: a call of its own, a step of several, a line of a stream.
#[tokio::test]
async fn room_that_is_made_here_is_seen_at_once() {
    let service = Service::new();
    let rule = &rules(5)[3];
    let mut of_key = rule.clone();
    of_key["key"] = "k".into();
    let refund = |service: &Service| service.post("/ratelimit/refund", of_key.clone());
    let step = operation("ratelimit/refund", of_key.clone());
    for way in ["refund", "reset", "atomic", "bulk"] {
        let service = service.in_new_space();
        used_up(&service, rule, 5).await;
        match way {
            "refund" => drop(refund(&service).await.assert(200)),
            "reset" => drop(service.post("/ratelimit/reset", of_key.clone()).await.assert(200)),
            "atomic" => {
                drop(service.atomic(&[step.clone(), step.clone()]).await.assert(200));
            }
            _ => {
                let request = axum::http::Request::post("/bulk")
                    .header("content-type", "application/x-ndjson")
                    .header("lockstep-space", &service.space)
                    .body(axum::body::Body::from(format!("{step}\n")));
                assert_eq!(service.send(request.unwrap()).await.status, 200);
            }
        }
        check(&service, rule, 1).await.assert(200);
    }
    // A bucket of another capacity shares what was taken.
    let service = service.in_new_space();
    used_up(&service, &rules(5)[0], 5).await;
    let mut larger = rules(6)[0].clone();
    larger["key"] = "k".into();
    service.post("/ratelimit/reset", larger).await.assert(200);
    check(&service, &rules(5)[0], 1).await.assert(200);
}

/// However checks and refunds run across each other, each refunded unit is taken once and no check is denied for a
/// unit that was free before it began.
#[tokio::test(flavor = "multi_thread")]
async fn no_denial_outlives_the_refund_that_it_has_seen() {
    let service = Service::new();
    let rule = rules(1)[3].clone();
    let mut of_key = rule.clone();
    of_key["key"] = "k".into();
    check(&service, &rule, 1).await.assert(200);
    for round in 0..60 {
        let racing = race(24, |_| check(&service, &rule, 1));
        let refunded = service.post("/ratelimit/refund", of_key.clone()).await.assert(200);
        assert_eq!(refunded["refunded"], 1);
        let early = racing.await.count(200);
        let late = race(4, |_| check(&service, &rule, 1)).await.count(200);
        assert_eq!(early + late, 1, "round {round}");
    }
}

/// What another process gives back is seen after two seconds at the latest; until then this one may deny.
#[tokio::test]
async fn room_that_is_made_elsewhere_is_seen_in_time() {
    let (service, other) = (Service::new(), Service::new());
    let other = other.in_space(&service.space);
    let rule = &rules(5)[3];
    let mut of_key = rule.clone();
    of_key["key"] = "k".into();
    used_up(&service, rule, 5).await;
    other.post("/ratelimit/reset", of_key).await.assert(200);
    assert_denied_by(check(&service, rule, 1).await, Some("local"));
    // Several checks, a look and a step of several always ask.
    let input = json!({ "checks": [{ "key": "k", "algorithm": "fixed_window", "limit": 5, "window_ms": 25 * DAY }] });
    service.post("/ratelimit/check-all", input).await.assert(200);
    let mut one = rule.clone();
    one["key"] = "k".into();
    let step = operation("ratelimit/check", one);
    service.atomic(&[step.clone(), step]).await.assert(200);
    service.advance_ms(2000);
    assert_eq!(check(&service, rule, 1).await.assert(200)["remaining"], 1);
}

/// The store has the record of a key and the holder of a lock.
#[tokio::test]
async fn keys_and_guards_ask_the_store() {
    let service = Service::new();
    let rule = &rules(5)[3];
    let first = check(&service, rule, 5).key("once").await.assert(200);
    let lease = service.acquire("l", "worker", DAY / 2).await.assert(201);
    let guard = format!("lock=l;token={}", lease["fencing_token"]);
    for _ in 0..2 {
        assert_denied_by(check(&service, rule, 5).key("other").await, None);
    }
    assert_denied_by(check(&service, rule, 5).await, None);
    assert_denied_by(check(&service, rule, 5).await, Some("local"));
    let answer = check(&service, rule, 5).key("once").await;
    assert!(answer.replayed());
    assert_eq!(answer.assert(200), first);
    assert_denied_by(check(&service, rule, 5).header("lockstep-guard", &guard).await, None);
    let stale = "lock=l;token=1";
    let refused = check(&service, rule, 5).header("lockstep-guard", stale).await;
    refused.expect_problem(412, "stale_fencing_token");
}

/// A lease may be given back at any moment, so its denials are those of the store.
#[tokio::test]
async fn leases_are_never_denied_here() {
    let service = Service::new();
    tokio::spawn(follow_policies(service.store.clone()));
    let rule = &rules(5)[4];
    check(&service, rule, 5).await.assert(200);
    put(&service, "p", rule).await.assert(201);
    let policy = json!({ "policy": "p" });
    check(&service, &policy, 5).await.assert(200);
    for _ in 0..50 {
        assert_denied_by(check(&service, rule, 1).await, None);
        assert_denied_by(check(&service, &policy, 1).await, None);
    }
}

/// Under a policy denials are remembered once the policy is known, and forgotten with its rule.
#[tokio::test(flavor = "multi_thread")]
async fn another_rule_of_the_policy_ends_its_denials() {
    let (service, other) = (Service::new(), Service::new());
    let other = other.in_space(&service.space);
    tokio::spawn(follow_policies(service.store.clone()));
    let policy = json!({ "policy": "p" });
    put(&service, "p", &rules(5)[3]).await.assert(201);
    check(&service, &policy, 5).await.assert(200);
    let is_local =
        async |cost: u64| check(&service, &policy, cost).await.body["decided_by"] == "local";
    let mut limit = 5;
    for changing in [&service, &other, &service] {
        wait_until("a remembered denial", async || is_local(1).await).await;
        limit += 1;
        put(changing, "p", &rules(limit)[3]).await.assert(200);
        if changing.store.process() == service.store.process() {
            check(&service, &policy, 1).await.assert(200);
        } else {
            // The change is read within a second; a denial ends after two.
            wait_until("the other rule", async || !is_local(1).await).await;
        }
    }
    wait_until("a remembered denial", async || is_local(2).await).await;
    service.delete("/ratelimit/policies/p").await.assert(200);
    check(&service, &policy, 2).await.expect_problem(404, "policy_not_found");
}
