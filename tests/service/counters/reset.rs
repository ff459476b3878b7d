use serde_json::json;

use super::{
    MAX_SAFE_INTEGER, assert_rejects_values, changed, expect_refusal, kept_ms, read, set,
    set_with_expiry,
};
use crate::support::{HOUR, Service, race_each};

const PATH: &str = "/counters/reset";

#[tokio::test]
async fn sets_the_value_and_returns_the_previous_one() {
    let service = Service::new();
    set(&service, "c", 42).await;
    let body = json!({ "counter": "c" });
    assert_eq!(service.post(PATH, body.clone()).await.assert(200), changed("c", 42, 0));
    assert_eq!(read(&service, "c").await, (0, true, false));
    let body = json!({ "counter": "c", "value": -3 });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 0, -3));
    let body = json!({ "counter": "new" });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("new", 0, 0));
    assert_eq!(read(&service, "new").await, (0, true, false));
}

#[tokio::test]
async fn keeps_the_time_to_live() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    service.advance_ms(HOUR / 2);
    service.post(PATH, json!({ "counter": "c" })).await.assert(200);
    let kept = kept_ms(&service, "c");
    assert!((HOUR / 2 - 60_000..=HOUR / 2).contains(&kept), "{kept}");
    service.advance_ms(HOUR / 2);
    assert_eq!(read(&service, "c").await, (0, false, false));
}

#[tokio::test]
async fn is_exact_up_to_53_bits() {
    let service = Service::new();
    set(&service, "c", -MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "c", "value": MAX_SAFE_INTEGER });
    for _ in 0..2 {
        let answer = service.post(PATH, body.clone()).key("k").await.assert(200);
        assert_eq!(answer, changed("c", -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER));
    }
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    set_with_expiry(&service, "c", 5).await;
    let bad = [
        ("/value", json!(1_i64 << 53), "counter_out_of_range"),
        ("/value", json!("0"), "validation_failed"),
        ("/value", json!(0.5), "validation_failed"),
        ("/if_value", json!(5), "unknown_field"),
        ("/counter", json!("reset"), "invalid_id"),
        ("/counter", json!("é"), "invalid_id"),
    ];
    assert_rejects_values(&service, PATH, &json!({ "counter": "c" }), &bad).await;
    let answer = expect_refusal(&service, PATH, json!({}), 422, "validation_failed").await;
    assert_eq!(answer["errors"][0]["pointer"], "/counter");
}

/// Some callers reset the counter again and again, and no increment is lost between two resets.
#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_between_resets() {
    let service = Service::new();
    let tasks = race_each(0..64_i64, |task| {
        let service = service.clone();
        async move {
            let (mut added, mut taken) = (0, 0);
            for round in 0..20 {
                if (task + round) % 8 == 0 {
                    let answer = service.post(PATH, json!({ "counter": "c" })).await.assert(200);
                    taken += answer["previous"].as_i64().unwrap();
                } else {
                    service.increment("c", 1 + task).await.assert(200);
                    added += 1 + task;
                }
            }
            (added, taken)
        }
    });
    let sums = tasks.await;
    let added: i64 = sums.iter().map(|(added, _)| added).sum();
    let taken: i64 = sums.iter().map(|(_, taken)| taken).sum();
    assert_eq!(taken + service.counter("c").await, added);
}
