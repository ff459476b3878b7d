//! Large values: stored beside the record, and read without a script.

use serde_json::{Value, json};

use super::{MINUTE, fill, get, invalidate, lease, set};
use crate::support::{Service, race};

/// A value of so many bytes.
fn large(bytes: usize) -> String {
    (0..bytes).map(|i| char::from(b'a' + u8::try_from(i % 26).unwrap())).collect()
}

/// The fields of the hash of `k`, by name.
fn fields(service: &Service) -> Vec<String> {
    let key = service.key("cache_value", "k");
    redis::cmd("HKEYS").arg(key).query(&mut service.raw()).unwrap()
}

#[tokio::test]
async fn values_of_every_size_come_back_as_they_were() {
    let service = Service::new();
    for bytes in [0, 1, 16 * 1024, 16 * 1024 + 1, 100_000, 1024 * 1024] {
        let value = large(bytes);
        set(&service, json!({ "value": value })).await.assert(200);
        for answer in [get(&service, json!({})).await, service.get("/cache/k").await] {
            assert!(answer.assert(200)["value"] == value, "{bytes} bytes");
        }
    }
    // The old value of an entry does not stay.
    assert_eq!(fields(&service).len(), 1);
    set(&service, json!({})).await.assert(200);
    assert_eq!(fields(&service).len(), 0);
}

#[tokio::test]
async fn a_value_whose_characters_are_escapes_is_taken_whole() {
    let service = Service::new();
    let value = "\u{1}".repeat(1024 * 1024);
    let token = lease(&service).await;
    fill(&service, &token, json!({ "value": value })).await.assert(200);
    assert!(get(&service, json!({})).await.assert(200)["value"] == value);
}

#[tokio::test]
async fn an_invalidation_takes_the_value_with_it() {
    let service = Service::new();
    set(&service, json!({ "value": large(50_000), "stale_ms": MINUTE })).await.assert(200);
    let keep = json!({ "keys": ["k"], "keep_stale": true });
    invalidate(&service, keep).await.assert(200);
    assert!(get(&service, json!({})).await.assert(200)["stale_value"] == large(50_000));
    invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    assert_eq!(fields(&service).len(), 0);
}

#[tokio::test]
async fn a_value_that_is_lost_is_a_miss() {
    let service = Service::new();
    set(&service, json!({ "value": large(50_000) })).await.assert(200);
    let key = service.key("cache_value", "k");
    redis::cmd("DEL").arg(key).query::<u64>(&mut service.raw()).unwrap();
    service.get("/cache/k").await.expect_problem(404, "cache_miss");
    let token = lease(&service).await;
    fill(&service, &token, json!({ "value": large(60_000) })).await.assert(200);
    assert!(get(&service, json!({})).await.assert(200)["value"] == large(60_000));
}

/// Readers see one of the values that were written, and never a part of one or two of them.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_values_while_they_are_replaced() {
    let service = Service::new();
    let value = |i: usize| i.to_string().repeat(20_000);
    set(&service, json!({ "value": value(0) })).await.assert(200);
    let writes = race(30, |i| set(&service, json!({ "value": value(i % 10) })));
    let reads = race(100, |_| get(&service, json!({})));
    for answer in reads.await.iter() {
        // A value that is replaced faster than it is read may be refused, and never mixed.
        if answer.status.as_u16() == 200 {
            let text = answer.body["value"].as_str().unwrap();
            assert!(text.len() == 20_000 && text.bytes().all(|byte| byte == text.as_bytes()[0]));
        }
    }
    assert_eq!(writes.await.count(200), 30);
}

#[tokio::test]
async fn no_idempotency_record_has_the_value() {
    let service = Service::new();
    let call = set(&service, json!({ "value": large(100_000) })).key("s");
    let first = call.clone().await.assert(200);
    assert_eq!(call.await.assert(200), first);
    let once = service.key("once", "s");
    let bytes: usize = redis::cmd("STRLEN").arg(once).query(&mut service.raw()).unwrap();
    assert!(bytes < 200, "{bytes}");
    let mut other = large(100_000);
    other.push('x');
    let other: Value = json!({ "value": other });
    set(&service, other).key("s").await.expect_problem(422, "idempotency_key_reused");
}
