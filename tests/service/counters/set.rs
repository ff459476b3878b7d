use serde_json::json;

use super::{
    MAX_SAFE_INTEGER, assert_rejects_values, changed, expect_refusal, kept_ms, read, set,
    set_with_expiry,
};
use crate::support::{HOUR, Service, race_each};

const PATH: &str = "/counters/set";

#[tokio::test]
async fn sets_the_value() {
    let service = Service::new();
    assert_eq!(set(&service, "c", 7).await, changed("c", 0, 7));
    assert_eq!(set(&service, "c", -7).await, changed("c", 7, -7));
    assert_eq!(set(&service, "zero", 0).await, changed("zero", 0, 0));
    assert_eq!(read(&service, "zero").await, (0, true, false), "it is there now");
    assert_eq!(kept_ms(&service, "c"), -1);
}

#[tokio::test]
async fn keeps_the_time_to_live() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    service.advance_ms(HOUR / 2);
    set(&service, "c", 9).await;
    let kept = kept_ms(&service, "c");
    assert!((HOUR / 2 - 60_000..=HOUR / 2).contains(&kept), "{kept}");
    service.advance_ms(HOUR / 2);
    assert_eq!(read(&service, "c").await, (0, false, false));
    // A counter that is created again does not inherit the expiry of the old one.
    assert_eq!(set(&service, "c", 3).await, changed("c", 0, 3));
    assert_eq!((read(&service, "c").await, kept_ms(&service, "c")), ((3, true, false), -1));
}

#[tokio::test]
async fn if_value_needs_the_current_value() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    let body =
        |value: i64, if_value: i64| json!({ "counter": "c", "value": value, "if_value": if_value });
    for wrong in [4, 6, -5, 0, MAX_SAFE_INTEGER] {
        let answer = expect_refusal(&service, PATH, body(9, wrong), 412, "value_mismatch").await;
        assert_eq!((&answer["value"], &answer["expected"]), (&json!(5), &json!(wrong)));
    }
    assert_eq!(service.post(PATH, body(9, 5)).await.assert(200), changed("c", 5, 9));
    // A counter that does not exist is compared as 0, and a mismatch does not create it.
    let body = |if_value: i64| json!({ "counter": "new", "value": 1, "if_value": if_value });
    expect_refusal(&service, PATH, body(1), 412, "value_mismatch").await;
    assert_eq!(service.post(PATH, body(0)).await.assert(200), changed("new", 0, 1));
}

#[tokio::test]
async fn is_exact_up_to_53_bits() {
    let service = Service::new();
    for (value, before) in [
        (MAX_SAFE_INTEGER, 0),
        (-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
        (MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER),
    ] {
        assert_eq!(set(&service, "c", value).await, changed("c", before, value));
        assert_eq!(service.counter("c").await, value);
    }
    let near = json!({ "counter": "c", "value": 0, "if_value": MAX_SAFE_INTEGER - 1 });
    for _ in 0..2 {
        let answer = service.post(PATH, near.clone()).key("k").await;
        let answer = answer.expect_problem(412, "value_mismatch");
        assert_eq!(
            (&answer["value"], &answer["expected"]),
            (&json!(MAX_SAFE_INTEGER), &json!(MAX_SAFE_INTEGER - 1))
        );
    }
    let exactly =
        json!({ "counter": "c", "value": 1 - MAX_SAFE_INTEGER, "if_value": MAX_SAFE_INTEGER });
    for _ in 0..2 {
        let answer = service.post(PATH, exactly.clone()).key("l").await;
        assert_eq!(answer.assert(200), changed("c", MAX_SAFE_INTEGER, 1 - MAX_SAFE_INTEGER));
    }
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    let good = json!({ "counter": "c", "value": 1 });
    let bad = [
        ("/value", json!(1_i64 << 53), "counter_out_of_range"),
        ("/value", json!(-(1_i64 << 53)), "counter_out_of_range"),
        ("/value", json!(1.5), "validation_failed"),
        ("/value", json!("1"), "validation_failed"),
        ("/value", json!(null), "validation_failed"),
        ("/if_value", json!(1_i64 << 53), "counter_out_of_range"),
        ("/if_value", json!("5"), "validation_failed"),
        ("/ttl_ms", json!(1000), "unknown_field"),
        ("/counter", json!("set"), "invalid_id"),
        ("/counter", json!("a b"), "invalid_id"),
    ];
    assert_rejects_values(&service, PATH, &good, &bad).await;
    let answer =
        expect_refusal(&service, PATH, json!({ "counter": "c" }), 422, "validation_failed").await;
    assert_eq!(answer["errors"][0]["pointer"], "/value");
}

/// Each caller reads, adds, and writes if the value is unchanged; a late one reads again.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_compare_and_set_loses_no_update() {
    let service = Service::new();
    race_each(1..=16, |task| {
        let service = service.clone();
        async move {
            for _ in 0..5 {
                loop {
                    let value = service.counter("c").await;
                    let body = json!({ "counter": "c", "value": value + task, "if_value": value });
                    let answer = service.post(PATH, body).await;
                    if answer.status.as_u16() == 200 {
                        assert_eq!(answer.body["previous"], value);
                        break;
                    }
                    answer.expect_problem(412, "value_mismatch");
                }
            }
        }
    })
    .await;
    assert_eq!(service.counter("c").await, 5 * (1..=16).sum::<i64>());
}
