//! Large values: stored beside the record, and read without a script.

use serde_json::{Value, json};

use super::{MINUTE, fill, get, invalidate, lease, set, with};
use crate::support::{HOUR, Service, operation, race};

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

/// The input of a set of `k`.
fn of_k(body: &Value) -> Value {
    with(json!({ "key": "k", "ttl_ms": MINUTE }), body.clone())
}

/// Milliseconds for which Redis keeps the hash of `k`; negative where there is none.
fn kept_ms(service: &Service) -> i64 {
    let key = service.key("cache_value", "k");
    redis::cmd("PTTL").arg(key).query(&mut service.raw()).unwrap()
}

#[tokio::test]
async fn no_value_takes_memory_for_longer_than_it_can_be_served() {
    let service = Service::new();
    let long = json!({ "value": large(50_000), "ttl_ms": HOUR, "stale_ms": MINUTE });
    let short = json!({ "value": large(60_000) });
    // A value with a nearer end takes the place of one with a later end.
    set(&service, long.clone()).await.assert(200);
    assert!(kept_ms(&service) > MINUTE);
    set(&service, short.clone()).await.assert(200);
    assert!((1..=MINUTE).contains(&kept_ms(&service)));
    service
        .atomic(&[operation("cache/set", of_k(&long)), operation("cache/set", of_k(&short))])
        .await
        .assert(200);
    assert!((1..=MINUTE).contains(&kept_ms(&service)));
    // An invalidation leaves what is stale.
    set(&service, long.clone()).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"], "keep_stale": true })).await.assert(200);
    assert!((1..=MINUTE).contains(&kept_ms(&service)));
    assert!(get(&service, json!({})).await.assert(200)["stale_value"] == large(50_000));
}

/// An invalidation of a tag finds no entries, so it leaves a large value where it is.
#[tokio::test]
async fn a_writer_removes_the_value_that_a_tag_has_voided() {
    let service = Service::new();
    for lapses in [false, true] {
        let body = json!({ "value": large(50_000), "ttl_ms": HOUR, "tags": ["t"] });
        set(&service, body).await.assert(200);
        invalidate(&service, json!({ "tags": ["t"] })).await.assert(200);
        let token = lease(&service).await;
        if lapses {
            service.advance_ms(MINUTE);
            set(&service, json!({})).await.assert(200);
        } else {
            fill(&service, &token, json!({})).await.assert(200);
        }
        assert_eq!(get(&service, json!({})).await.assert(200)["value"], "v");
        assert_eq!(fields(&service).len(), 0, "{lapses}");
    }
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
