use serde_json::json;

use super::{add_limited, adjust, assert_adds_up, held};
use crate::support::{HOUR, Service, race};

#[tokio::test]
async fn changes_the_units_on_hand() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let body = json!({
        "product_id": "cup", "delta": 7, "reason": "received", "reference": "d\"7", "expected_on_hand": 5
    });
    let body = service.post("/inventory/adjust", body).await.assert(200);
    assert_eq!(
        body,
        json!({
            "product_id": "cup", "delta": 7, "reason": "received", "reference": "d\"7",
            "previous_on_hand": 5, "on_hand": 12, "reserved": 0, "available": 12, "version": 2
        })
    );
    let body = json!({ "product_id": "cup", "delta": -12, "reason": "lost" });
    assert_eq!(service.post("/inventory/adjust", body).await.assert(200)["on_hand"], 0);
}

#[tokio::test]
async fn refuses_and_changes_nothing() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.reserve("cup", 2, 86_400_000).await.assert(201);
    let before = service.snapshot();
    for (change, status, code) in [
        (json!({ "delta": -4 }), 409, "stock_below_reserved"),
        (json!({ "delta": 1, "expected_on_hand": 4 }), 412, "quantity_stale"),
        (json!({ "delta": 1_000_000_000_000_i64 }), 422, "stock_out_of_range"),
        (json!({ "delta": 1_000_000_000_001_i64 }), 422, "validation_failed"),
        (json!({ "delta": i64::MIN }), 422, "validation_failed"),
        (json!({ "delta": 0 }), 422, "validation_failed"),
        (json!({ "delta": "1" }), 422, "validation_failed"),
        (json!({ "delta": 1, "reason": "stolen" }), 422, "validation_failed"),
        (json!({ "delta": 1, "product_id": "no" }), 404, "product_not_found"),
    ] {
        let mut body = json!({ "product_id": "cup", "reason": "other" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        service.post("/inventory/adjust", body).await.expect_problem(status, code);
    }
    service.assert_unchanged(&before);
    let body = json!({ "product_id": "cup", "delta": -3, "reason": "damaged" });
    assert_eq!(service.post("/inventory/adjust", body).await.assert(200)["available"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_counts_is_applied() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let tasks = race(50, |_| {
        let body =
            json!({ "product_id": "cup", "delta": 1, "reason": "counted", "expected_on_hand": 5 });
        service.post("/inventory/adjust", body)
    });
    let answers = tasks.await;
    assert_eq!(answers.count(200), 1);
    assert_eq!(answers.count_code("quantity_stale"), 49);
    assert_eq!(service.stock("cup").await, [6, 0, 6]);
}

#[tokio::test]
async fn reports_each_low_stock_crossing_once() {
    let service = Service::new();
    add_limited(&service, "cup", 10, Some(5), None).await;
    for (delta, available, low) in [
        // A stock equal to the threshold is not low.
        (-5, 5, None),
        (-1, 4, Some(true)),
        (-1, 3, None),
        (1, 4, None),
        (1, 5, Some(false)),
        (1, 6, None),
        (-6, 0, Some(true)),
        (20, 20, Some(false)),
    ] {
        let body = adjust(&service, "cup", delta).await;
        assert_eq!(body["available"], available);
        assert_eq!(body.get("low_stock"), low.map(|low| json!(low)).as_ref(), "{body:#}");
    }
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn a_product_without_a_threshold_is_never_low() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    for delta in [-5, 5] {
        assert_eq!(adjust(&service, "cup", delta).await.get("low_stock"), None);
    }
}

#[tokio::test]
async fn expired_reservations_end_low_stock() {
    let service = Service::new();
    add_limited(&service, "cup", 10, Some(5), None).await;
    held(&service, &[("cup", 6)]).await;
    service.advance_ms(HOUR);
    let body = adjust(&service, "cup", 1).await;
    assert_eq!((&body["available"], &body["low_stock"]), (&json!(11), &json!(false)));
    assert_eq!(adjust(&service, "cup", 1).await.get("low_stock"), None);
    assert_adds_up(&service).await;
}

/// Many callers lower the stock, and then raise it: one of them reports each crossing.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_callers_reports_the_low_stock_crossing() {
    let service = Service::new();
    add_limited(&service, "cup", 100, Some(50), None).await;
    for (delta, low) in [(-1, true), (1, false)] {
        let body = json!({ "product_id": "cup", "delta": delta, "reason": "counted" });
        let answers = race(100, |_| service.post("/inventory/adjust", body.clone())).await;
        assert_eq!(answers.count(200), 100);
        let crossings: Vec<_> =
            answers.iter().filter_map(|answer| answer.body.get("low_stock")).collect();
        assert_eq!(crossings, [low]);
    }
    assert_eq!(service.stock("cup").await, [100, 0, 100]);
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn an_adjustment_that_would_take_a_sum_of_its_reason_too_far_is_refused() {
    const MOST: i64 = 999_999_999_999_999;
    let service = Service::new();
    service.add_product("cup", 5).await;
    for reason in ["received", "returned", "damaged", "lost", "counted", "other"] {
        for sign in [1_i64, -1] {
            service.set_product_figure("cup", reason, sign * (MOST - 1));
            let adjust = |delta: i64| {
                let body = json!({ "product_id": "cup", "delta": sign * delta, "reason": reason });
                service.post("/inventory/adjust", body)
            };
            adjust(1).await.assert(200);
            let before = service.snapshot();
            let refused = adjust(1).await.expect_problem(422, "total_out_of_range");
            assert_eq!(
                (&refused["figure"], &refused["total"]),
                (&json!(reason), &json!(sign * MOST))
            );
            service.assert_unchanged(&before);
            adjust(-1).await.assert(200);
        }
        service.set_product_figure("cup", reason, 0);
    }
    assert_eq!(service.stock("cup").await, [5, 0, 5]);
}
