use serde_json::json;

use super::{
    MAX_SAFE_INTEGER, assert_rejects_values, changed, expect_refusal, kept_ms, read, set,
    set_with_expiry,
};
use crate::support::{HOUR, Service, race};

const PATH: &str = "/counters/decrement";

#[tokio::test]
async fn the_default_minimum_is_zero() {
    let service = Service::new();
    set_with_expiry(&service, "c", 3).await;
    let body = |by: i64| json!({ "counter": "c", "by": by });
    let answer = service.post(PATH, json!({ "counter": "c" })).await;
    assert_eq!(answer.assert(200), changed("c", 3, 2));
    let answer = expect_refusal(&service, PATH, body(3), 409, "counter_below_minimum").await;
    assert_eq!((&answer["value"], &answer["min"]), (&json!(2), &json!(0)));
    assert_eq!(answer["detail"], "The counter c is at 2 and goes down to 0.");
    assert_eq!(service.post(PATH, body(2)).await.assert(200), changed("c", 2, 0));
    assert_eq!(read(&service, "c").await, (0, true, true), "zero is a value like any other");
    let answer = expect_refusal(&service, PATH, body(1), 409, "counter_below_minimum").await;
    assert_eq!(answer["value"], 0);
    // A new counter is at zero, and a refusal does not create it.
    let new = json!({ "counter": "new", "ttl_ms": HOUR });
    expect_refusal(&service, PATH, new, 409, "counter_below_minimum").await;
    assert_eq!(read(&service, "new").await, (0, false, false));
}

#[tokio::test]
async fn a_negative_minimum_allows_negative_values() {
    let service = Service::new();
    let body = |by: i64| json!({ "counter": "c", "by": by, "min": -10 });
    assert_eq!(service.post(PATH, body(7)).await.assert(200), changed("c", 0, -7));
    let answer = expect_refusal(&service, PATH, body(4), 409, "counter_below_minimum").await;
    assert_eq!((&answer["value"], &answer["min"]), (&json!(-7), &json!(-10)));
    assert_eq!(service.post(PATH, body(3)).await.assert(200), changed("c", -7, -10));
    // Without a minimum it is zero, and the counter is below that already.
    let body = json!({ "counter": "c" });
    let answer = expect_refusal(&service, PATH, body, 409, "counter_below_minimum").await;
    assert_eq!((&answer["value"], &answer["min"]), (&json!(-10), &json!(0)));
}

#[tokio::test]
async fn saturating_stops_at_the_minimum() {
    let service = Service::new();
    set(&service, "c", 8).await;
    let body = |min: i64| json!({ "counter": "c", "by": 5, "min": min, "on_bound": "saturate" });
    assert_eq!(service.post(PATH, body(5)).await.assert(200), changed("c", 8, 5));
    let before = service.snapshot();
    for min in [5, 6, 100, MAX_SAFE_INTEGER] {
        assert_eq!(service.post(PATH, body(min)).await.assert(200), changed("c", 5, 5));
        service.assert_unchanged(&before);
    }
}

#[tokio::test]
async fn a_new_counter_counts_from_its_initial_value() {
    let service = Service::new();
    let body = json!({ "counter": "seats", "by": 2, "initial": 50 });
    assert_eq!(service.post(PATH, body.clone()).await.assert(200), changed("seats", 50, 48));
    assert_eq!(service.post(PATH, body).await.assert(200), changed("seats", 48, 46));
    let body = json!({ "counter": "few", "by": 2, "initial": 1, "on_bound": "saturate" });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("few", 1, 0));
}

#[tokio::test]
async fn is_exact_up_to_53_bits() {
    let service = Service::new();
    set(&service, "c", 1 - MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "c", "min": -MAX_SAFE_INTEGER });
    let answer = service.post(PATH, body.clone()).key("k").await;
    assert_eq!(answer.assert(200), changed("c", 1 - MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER));
    let again = service.post(PATH, body.clone()).key("k").await;
    assert!(again.replayed());
    assert_eq!(again.assert(200), changed("c", 1 - MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER));
    for _ in 0..2 {
        let answer = service.post(PATH, body.clone()).key("refused").await;
        let answer = answer.expect_problem(409, "counter_below_minimum");
        assert_eq!(
            (&answer["value"], &answer["min"]),
            (&json!(-MAX_SAFE_INTEGER), &json!(-MAX_SAFE_INTEGER))
        );
    }
    // The minimum is always in range, so a decrement can leave the range only with a negative step.
    set(&service, "top", MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "top", "by": MAX_SAFE_INTEGER, "min": -MAX_SAFE_INTEGER });
    assert_eq!(
        service.post(PATH, body.clone()).await.assert(200),
        changed("top", MAX_SAFE_INTEGER, 0)
    );
    let answer = service.post(PATH, body.clone()).await.assert(200);
    assert_eq!(answer, changed("top", 0, -MAX_SAFE_INTEGER));
    expect_refusal(&service, PATH, body, 409, "counter_below_minimum").await;
    let body = json!({ "counter": "c", "by": MAX_SAFE_INTEGER + 1 });
    let answer = expect_refusal(&service, PATH, body, 422, "counter_out_of_range").await;
    assert_eq!(answer["errors"][0]["pointer"], "/by");
}

#[tokio::test]
async fn keeps_refreshes_or_gives_a_time_to_live() {
    let service = Service::new();
    let about = |kept: i64, ms: i64| assert!((ms - 60_000..=ms).contains(&kept), "{kept} {ms}");
    for (mode, first, then) in [
        ("keep", Some(HOUR), HOUR / 2),
        ("refresh", Some(HOUR), HOUR),
        ("if_none", Some(HOUR), HOUR / 2),
        ("keep", None, -1),
        ("refresh", None, HOUR),
        ("if_none", None, HOUR),
    ] {
        let service = service.in_new_space();
        let body = json!({ "counter": "c", "initial": 9, "ttl_ms": first });
        service.post(PATH, body).await.assert(200);
        service.advance_ms(HOUR / 2);
        let body = json!({ "counter": "c", "ttl_ms": HOUR, "ttl_mode": mode });
        service.post(PATH, body).await.assert(200);
        match kept_ms(&service, "c") {
            -1 => assert_eq!(then, -1, "{mode}"),
            kept => about(kept, then),
        }
    }
}

#[tokio::test]
async fn refuses_invalid_input() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    let good = json!({ "counter": "c", "by": 1 });
    let bad = [
        ("/by", json!(0), "validation_failed"),
        ("/by", json!(-1), "validation_failed"),
        ("/by", json!(1.5), "validation_failed"),
        ("/by", json!("1"), "validation_failed"),
        ("/min", json!(-(1_i64 << 53)), "counter_out_of_range"),
        ("/min", json!("0"), "validation_failed"),
        ("/initial", json!(1_i64 << 53), "counter_out_of_range"),
        ("/ttl_ms", json!(0), "validation_failed"),
        ("/ttl_mode", json!("always"), "validation_failed"),
        ("/on_bound", json!("clamp"), "validation_failed"),
        ("/max", json!(10), "unknown_field"),
        ("/counter", json!("decrement"), "invalid_id"),
        ("/counter", json!(""), "invalid_id"),
    ];
    assert_rejects_values(&service, PATH, &good, &bad).await;
    let body = json!({ "counter": "c", "ttl_mode": "refresh" });
    let answer = expect_refusal(&service, PATH, body, 422, "validation_failed").await;
    assert_eq!(answer["errors"][0]["pointer"], "/ttl_ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_decrements_give_out_each_seat_once() {
    let service = Service::new();
    let tasks = race(200, |_| {
        let body = json!({ "counter": "seats", "by": 3, "initial": 100 });
        service.post(PATH, body)
    });
    let answers = tasks.await;
    let given = answers.count(200);
    assert_eq!(given, 33, "of 100 seats, three at a time");
    assert_eq!(answers.count_code("counter_below_minimum"), 167);
    let refused = answers.iter().filter(|answer| answer.status.as_u16() == 409);
    assert!(refused.map(|answer| &answer.body["value"]).all(|value| value == 1));
    assert_eq!(service.counter("seats").await, 1);
}
