//! `POST /cache/get`: a hit, the lease of a miss, and what everybody else is told.

use serde_json::json;

use super::{MINUTE, fill, get, invalidate, lease, set};
use crate::support::{Service, race};

#[tokio::test]
async fn a_miss_gives_one_caller_the_lease_and_tells_the_others() {
    let service = Service::new();
    let answer = get(&service, json!({})).await.assert(200);
    assert_eq!(answer["hit"], false);
    assert!(answer["lease_token"].as_str().unwrap().starts_with("lease_"));
    assert!(answer["lease_expires_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");

    // A caller that does not wait changes nothing.
    let before = service.snapshot();
    let other = get(&service, json!({})).await.assert(200);
    service.assert_unchanged(&before);
    assert_eq!([&other["hit"], &other["filling"]], [false, true]);
    assert!((1..=5000).contains(&other["retry_after_ms"].as_u64().unwrap()), "{other}");
    assert_eq!(other.as_object().unwrap().len(), 3, "{other}");
}

#[tokio::test]
async fn a_hit_tells_the_value_and_its_times() {
    let service = Service::new();
    let token = lease(&service).await;
    fill(&service, &token, json!({ "value": "\u{0}ä\"\\" })).await.assert(200);
    service.advance_ms(1000);
    let hit = get(&service, json!({})).await.assert(200);
    assert_eq!(
        [&hit["hit"], &hit["value"], &hit["version"], &hit["stale"]],
        [&json!(true), &json!("\u{0}ä\"\\"), &json!(1), &json!(false)]
    );
    let (age, left) = (hit["age_ms"].as_i64().unwrap(), hit["expires_in_ms"].as_i64().unwrap());
    assert!((1000..30_000).contains(&age) && age + left == MINUTE, "{hit}");
    assert_eq!(hit.as_object().unwrap().len(), 6, "{hit}");
}

#[tokio::test]
async fn the_end_of_a_lease_gives_the_next_caller_one() {
    let service = Service::new();
    let first = get(&service, json!({ "lease_ms": 2000 })).await.assert(200);
    service.advance_ms(2000);
    let second = lease(&service).await;
    assert_ne!(first["lease_token"], second);
    let lost = fill(&service, &first["lease_token"], json!({})).await;
    lost.expect_problem(409, "cache_lease_lost");
    fill(&service, &second, json!({})).await.assert(200);
}

#[tokio::test]
async fn a_value_that_has_ended_is_stale_until_it_is_filled() {
    let service = Service::new();
    let token = lease(&service).await;
    fill(&service, &token, json!({ "stale_ms": 1000 })).await.assert(200);
    service.advance_ms(MINUTE);
    let first = get(&service, json!({})).await.assert(200);
    assert_eq!(
        [&first["hit"], &first["stale"], &first["value"], &first["expires_in_ms"]],
        [&json!(true), &json!(true), &json!("v"), &json!(0)]
    );
    assert!(first["lease_token"].is_string(), "{first}");
    // A caller that may wait does not, because there is a value.
    let second = get(&service, json!({ "wait_ms": 25_000 })).await.assert(200);
    assert_eq!([&second["stale"], &second["value"]], [&json!(true), &json!("v")]);
    assert_eq!(second.get("lease_token"), None);
    fill(&service, &first["lease_token"], json!({ "value": "w" })).await.assert(200);
    let third = get(&service, json!({})).await.assert(200);
    assert_eq!(
        [&third["value"], &third["version"], &third["stale"]],
        [&json!("w"), &json!(2), &json!(false)]
    );
    service.advance_ms(MINUTE);
    lease(&service).await;
}

/// A value without a stale time is asked for without a pause until its end, so that nearly every time some call comes in
/// its last millisecond. It is never told as stale.
#[tokio::test]
async fn a_value_without_a_stale_time_ends_at_once() {
    let service = Service::new();
    for ttl_ms in 10..30 {
        set(&service, json!({ "ttl_ms": ttl_ms })).await.assert(200);
        loop {
            let answer = service.get("/cache/k").await;
            if answer.status.as_u16() == 404 {
                break;
            }
            assert_eq!(answer.assert(200)["stale"], false);
        }
    }
}

#[tokio::test]
async fn a_value_near_its_end_is_refreshed_by_one_caller() {
    let service = Service::new();
    set(&service, json!({ "refresh_ms": 10_000 })).await.assert(200);
    service.advance_ms(MINUTE - 30_000);
    assert_eq!(get(&service, json!({})).await.assert(200).get("lease_token"), None);
    service.advance_ms(20_000);
    let calls = race(50, |_| get(&service, json!({}))).await;
    let leases = calls.iter().filter(|answer| answer.body.get("lease_token").is_some()).count();
    assert_eq!((calls.count(200), leases), (50, 1));
    assert!(calls.iter().all(|answer| answer.body["value"] == "v"), "{calls:?}");
}

#[tokio::test]
async fn many_callers_get_one_lease() {
    let service = Service::new();
    let calls = race(200, |_| get(&service, json!({}))).await;
    let leases = calls.iter().filter(|answer| answer.body.get("lease_token").is_some()).count();
    let others = calls.iter().filter(|answer| answer.body["filling"] == true).count();
    assert_eq!((leases, others), (1, 199));
}

#[tokio::test]
async fn an_idempotency_key_keeps_no_value() {
    let service = Service::new();
    let first = get(&service, json!({})).key("same").await;
    let second = get(&service, json!({})).key("same").await;
    assert!(!second.replayed());
    assert_eq!(first.assert(200)["hit"], false);
    assert_eq!(second.assert(200)["filling"], true);
    assert!(!service.snapshot().iter().any(|(key, _)| key.contains("once:")));
}

#[tokio::test]
async fn spaces_have_entries_of_their_own() {
    let service = Service::new();
    set(&service, json!({})).await.assert(200);
    lease(&service.in_new_space()).await;
}

#[tokio::test]
async fn a_clock_that_steps_back_brings_no_value_back() {
    let service = Service::new();
    service.advance_ms(MINUTE);
    set(&service, json!({ "version": 3 })).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"] })).await.assert(200);
    service.advance_ms(-MINUTE);
    let answer = get(&service, json!({})).await.assert(200);
    assert_eq!(answer["hit"], false, "{answer}");
    assert!(answer["lease_token"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_guard_is_checked_first() {
    let service = Service::new();
    let guarded = get(&service, json!({})).header("lockstep-guard", "lock=l;token=7");
    let before = service.snapshot();
    guarded.await.expect_problem(412, "lock_not_held");
    service.assert_unchanged(&before);
    let lock = service.acquire("l", "me", MINUTE.cast_unsigned()).await.assert(201);
    let guard = format!("lock=l;token={}", lock["fencing_token"]);
    let answer = get(&service, json!({})).header("lockstep-guard", &guard).await.assert(200);
    assert!(answer["lease_token"].is_string());
}

#[tokio::test]
async fn what_was_kept_is_shown_to_those_who_have_no_other() {
    let service = Service::new();
    set(&service, json!({ "stale_ms": MINUTE })).await.assert(200);
    invalidate(&service, json!({ "keys": ["k"], "keep_stale": true })).await.assert(200);
    for name in ["lease_token", "filling"] {
        let answer = get(&service, json!({})).await.assert(200);
        assert_eq!([&answer["hit"], &answer["stale_value"]], [&json!(false), &json!("v")]);
        assert!(answer.get(name).is_some(), "{answer}");
    }
}

#[tokio::test]
async fn rejects_what_is_no_request() {
    let service = Service::new();
    let cases = [
        (json!({ "wait_ms": 25_001 }), "validation_failed", "/wait_ms"),
        (json!({ "wait_ms": -1 }), "validation_failed", "/wait_ms"),
        (json!({ "lease_ms": 0 }), "validation_failed", "/lease_ms"),
        (json!({ "key": "" }), "validation_failed", "/key"),
        (json!({ "key": "a\nb" }), "validation_failed", "/key"),
        (json!({ "key": "x".repeat(257) }), "validation_failed", "/key"),
        (json!({ "key": 7 }), "validation_failed", "/key"),
        (json!({ "key": "fill" }), "invalid_id", "/key"),
        (json!({ "ttl_ms": 1 }), "unknown_field", "/ttl_ms"),
    ];
    for (body, code, pointer) in cases {
        let problem = get(&service, body).await.expect_problem(422, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}
