//! `GET /cache/{key}`: the value, and never a lease.

use serde_json::json;

use super::{MINUTE, get, invalidate, set};
use crate::support::Service;

#[tokio::test]
async fn reads_a_value_and_gives_no_lease() {
    let service = Service::new();
    let problem = service.get("/cache/k").await.expect_problem(404, "cache_miss");
    assert_eq!(problem["key"], "k");
    assert!(service.snapshot().is_empty());

    set(&service, json!({ "stale_ms": 1000, "refresh_ms": MINUTE })).await.assert(200);
    let answer = service.get("/cache/k").await.assert(200);
    assert_eq!(
        [&answer["key"], &answer["value"], &answer["version"], &answer["stale"]],
        [&json!("k"), &json!("v"), &json!(1), &json!(false)]
    );
    assert_eq!(answer.as_object().unwrap().len(), 6, "{answer}");
    service.advance_ms(MINUTE);
    let answer = service.get("/cache/k").await.assert(200);
    assert_eq!([&answer["stale"], &answer["expires_in_ms"]], [&json!(true), &json!(0)]);
    assert!(get(&service, json!({})).await.assert(200)["lease_token"].is_string());
    service.advance_ms(1000);
    service.get("/cache/k").await.expect_problem(404, "cache_miss");
}

#[tokio::test]
async fn does_not_read_what_was_invalidated() {
    let service = Service::new();
    for body in [json!({ "keys": ["k"] }), json!({ "keys": ["k"], "keep_stale": true })] {
        set(&service, json!({ "stale_ms": MINUTE })).await.assert(200);
        invalidate(&service, body).await.assert(200);
        service.get("/cache/k").await.expect_problem(404, "cache_miss");
    }
}

#[tokio::test]
async fn a_key_may_have_any_printable_character() {
    let service = Service::new();
    for (key, path) in
        [("a/b", "a%2Fb"), ("GET /ä?x=1#y", "GET%20%2F%C3%A4%3Fx=1%23y"), ("::1", "::1")]
    {
        set(&service, json!({ "key": key, "value": key })).await.assert(200);
        let answer = service.get(&format!("/cache/{path}")).await.assert(200);
        assert_eq!([&answer["key"], &answer["value"]], [key, key]);
    }
    for (path, said) in [
        ("a%0Ab", "without control characters"),
        ("%FF", "no UTF-8"),
        (&"x".repeat(257), "1 to 256 bytes"),
    ] {
        let problem =
            service.get(&format!("/cache/{path}")).await.expect_problem(422, "invalid_id");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
}
