use serde_json::json;

use super::{MAX_SAFE_INTEGER, changed, ending, kept_ms, refused, refuses_values, seen, set};
use crate::support::{HOUR, Service, race_each};

const PATH: &str = "/counters/reset";

#[tokio::test]
async fn begins_anew_and_tells_how_far_it_had_come() {
    let service = Service::new();
    set(&service, "c", 42).await;
    let body = json!({ "counter": "c" });
    assert_eq!(service.post(PATH, body.clone()).await.assert(200), changed("c", 42, 0));
    assert_eq!(seen(&service, "c").await, (0, true, false));
    let body = json!({ "counter": "c", "value": -3 });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("c", 0, -3));
    let body = json!({ "counter": "new" });
    assert_eq!(service.post(PATH, body).await.assert(200), changed("new", 0, 0));
    assert_eq!(seen(&service, "new").await, (0, true, false));
}

#[tokio::test]
async fn keeps_the_time_to_live() {
    let service = Service::new();
    ending(&service, "c", 5).await;
    service.advance_ms(HOUR / 2);
    service.post(PATH, json!({ "counter": "c" })).await.assert(200);
    let kept = kept_ms(&service, "c");
    assert!((HOUR / 2 - 60_000..=HOUR / 2).contains(&kept), "{kept}");
    service.advance_ms(HOUR / 2);
    assert_eq!(seen(&service, "c").await, (0, false, false));
}

#[tokio::test]
async fn is_exact_as_far_as_it_goes() {
    let service = Service::new();
    set(&service, "c", -MAX_SAFE_INTEGER).await;
    let body = json!({ "counter": "c", "value": MAX_SAFE_INTEGER });
    for _ in 0..2 {
        let told = service.post(PATH, body.clone()).key("k").await.assert(200);
        assert_eq!(told, changed("c", -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER));
    }
}

#[tokio::test]
async fn refuses_what_is_no_value() {
    let service = Service::new();
    ending(&service, "c", 5).await;
    let bad = [
        ("/value", json!(1_i64 << 53), "counter_out_of_range"),
        ("/value", json!("0"), "validation_failed"),
        ("/value", json!(0.5), "validation_failed"),
        ("/if_value", json!(5), "unknown_field"),
        ("/counter", json!("reset"), "invalid_id"),
        ("/counter", json!("é"), "invalid_id"),
    ];
    refuses_values(&service, PATH, &json!({ "counter": "c" }), &bad).await;
    let told = refused(&service, PATH, json!({}), 422, "validation_failed").await;
    assert_eq!(told["errors"][0]["pointer"], "/counter");
}

/// Somebody empties the counter again and again, and nobody's step is lost between two emptyings.
#[tokio::test(flavor = "multi_thread")]
async fn no_step_is_lost_between_resets() {
    let service = Service::new();
    let tasks = race_each(0..64_i64, |task| {
        let service = service.clone();
        async move {
            let (mut added, mut taken) = (0, 0);
            for round in 0..20 {
                if (task + round) % 8 == 0 {
                    let told = service.post(PATH, json!({ "counter": "c" })).await.assert(200);
                    taken += told["previous"].as_i64().unwrap();
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
