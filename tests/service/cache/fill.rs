//! `POST /cache/fill`: what a lease holder may store, and what is refused because something has happened since.

use serde_json::{Value, json};

use super::{MINUTE, fill, get, invalidate, lease, set};
use crate::support::{Service, race};

#[tokio::test]
async fn stores_the_value_once() {
    let service = Service::new();
    let token = lease(&service).await;
    let answer = fill(&service, &token, json!({})).await.assert(200);
    assert_eq!(
        [&answer["key"], &answer["stored"], &answer["version"]],
        [&json!("k"), &json!(true), &json!(1)]
    );
    assert!(answer["expires_at"].is_string());
    let before = service.snapshot();
    let problem = fill(&service, &token, json!({ "value": "w" })).await;
    assert_eq!(problem.expect_problem(409, "cache_lease_lost")["key"], "k");
    service.assert_unchanged(&before);
    assert_eq!(get(&service, json!({})).await.assert(200)["value"], "v");
}

#[tokio::test]
async fn a_lease_is_lost_by_whatever_has_happened_since() {
    type Event = fn(&Service) -> crate::support::Call;
    let events: [(&str, Event); 6] = [
        ("invalidated", |service| invalidate(service, json!({ "keys": ["k"] }))),
        ("kept", |service| invalidate(service, json!({ "keys": ["k"], "keep_stale": true }))),
        ("tag", |service| invalidate(service, json!({ "tags": ["t"] }))),
        ("tag kept", |service| invalidate(service, json!({ "tags": ["t"], "keep_stale": true }))),
        ("set", |service| set(service, json!({ "value": "new" }))),
        ("versioned", |service| set(service, json!({ "value": "new", "version": 1 }))),
    ];
    for (name, event) in events {
        for is_first in [true, false] {
            let service = Service::new();
            if !is_first {
                let body = json!({ "stale_ms": MINUTE, "refresh_ms": MINUTE, "tags": ["t", "u"] });
                set(&service, body).await.assert(200);
            }
            let answer = get(&service, json!({})).await.assert(200);
            event(&service).await.assert(200);
            let late = json!({ "value": "old", "tags": ["t"] });
            let refused = fill(&service, &answer["lease_token"], late).await;
            refused.expect_problem(409, "cache_lease_lost");
            let now = get(&service, json!({})).await.assert(200);
            assert_ne!(now["value"], "old", "{name}");
            // The lease is nobody's any more: the next one who needs it gets it.
            assert!(now["hit"] == true || now["lease_token"].is_string(), "{name}: {now}");
        }
    }
}

#[tokio::test]
async fn another_tag_does_not_matter() {
    let service = Service::new();
    let token = lease(&service).await;
    invalidate(&service, json!({ "tags": ["other"] })).await.assert(200);
    fill(&service, &token, json!({ "tags": ["t"] })).await.assert(200);
    invalidate(&service, json!({ "tags": ["other"] })).await.assert(200);
    assert_eq!(get(&service, json!({})).await.assert(200)["value"], "v");
}

#[tokio::test]
async fn a_foreign_token_fills_nothing() {
    let service = Service::new();
    let token = lease(&service).await;
    let foreign = lease(&service.in_new_space()).await;
    for wrong in [foreign, json!("lease_0"), json!("x")] {
        let before = service.snapshot();
        fill(&service, &wrong, json!({})).await.expect_problem(409, "cache_lease_lost");
        service.assert_unchanged(&before);
    }
    fill(&service, &token, json!({})).await.assert(200);
}

#[tokio::test]
async fn a_repeat_under_its_key_answers_the_same_and_keeps_no_value() {
    let service = Service::new();
    let token = lease(&service).await;
    let value = "secret-value".repeat(20);
    let call = fill(&service, &token, json!({ "value": value })).key("f");
    let first = call.clone().await;
    invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    let second = call.await;
    assert!(second.replayed() && !first.replayed());
    assert_eq!(first.assert(200), second.assert(200));
    // Nothing was stored a second time, and no record of the key has the value.
    assert!(get(&service, json!({})).await.assert(200)["lease_token"].is_string());
    let records = service.snapshot();
    let of_key: Vec<_> = records.iter().filter(|(key, _)| key.contains("once:")).collect();
    assert_eq!(of_key.len(), 1);
    let holds = of_key[0].1.windows(12).any(|part| part == b"secret-value");
    assert!(!holds);
    let other = fill(&service, &token, json!({ "value": "w" })).key("f").await;
    other.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn of_many_fills_one_is_stored() {
    let service = Service::new();
    let token = lease(&service).await;
    let fills = race(50, |i| fill(&service, &token, json!({ "value": i.to_string() }))).await;
    assert_eq!((fills.count(200), fills.count_code("cache_lease_lost")), (1, 49));
}

#[tokio::test]
async fn bytes_come_back_as_they_were() {
    let service = Service::new();
    let token = lease(&service).await;
    let bytes = json!({ "value": "AP8Kgw==", "encoding": "base64" });
    fill(&service, &token, bytes).await.assert(200);
    for answer in [get(&service, json!({})).await, service.get("/cache/k").await] {
        let answer = answer.assert(200);
        assert_eq!([&answer["value"], &answer["encoding"]], ["AP8Kgw==", "base64"]);
    }
}

/// Bodies of `fill` and of `set` that are wrong, each with the pointer to what is wrong.
pub fn wrong_values() -> Vec<(Value, &'static str)> {
    let tags: Vec<_> = (0..17).map(|i| format!("t{i}")).collect();
    vec![
        (json!({ "value": 7 }), "/value"),
        (json!({ "value": "x".repeat(1024 * 1024 + 1) }), "/value"),
        (json!({ "value": "ab*", "encoding": "base64" }), "/value"),
        (json!({ "value": "YQ", "encoding": "base64" }), "/value"),
        (json!({ "encoding": "hex" }), "/encoding"),
        (json!({ "ttl_ms": 0 }), "/ttl_ms"),
        (json!({ "ttl_ms": 2_592_000_001_u64 }), "/ttl_ms"),
        (json!({ "stale_ms": 2_592_000_001_u64 }), "/stale_ms"),
        (json!({ "stale_ms": -1 }), "/stale_ms"),
        (json!({ "refresh_ms": MINUTE + 1 }), "/refresh_ms"),
        (json!({ "tags": tags }), "/tags"),
        (json!({ "tags": ["a", "b", "a"] }), "/tags/2"),
        (json!({ "tags": [""] }), "/tags/0"),
        (json!({ "tags": "a" }), "/tags"),
        (json!({ "key": "a\u{7f}" }), "/key"),
    ]
}

#[tokio::test]
async fn rejects_what_is_no_value() {
    let service = Service::new();
    let token = lease(&service).await;
    let before = service.snapshot();
    for (body, pointer) in wrong_values() {
        let problem = fill(&service, &token, body).await.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let problem = fill(&service, &json!("a b"), json!({})).await.expect_problem(422, "invalid_id");
    assert_eq!(problem["errors"][0]["pointer"], "/lease_token");
    service.assert_unchanged(&before);
}
