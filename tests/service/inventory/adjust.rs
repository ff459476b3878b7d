use serde_json::json;
use tokio::task::JoinSet;

use crate::support::Service;

#[tokio::test]
async fn changes_what_is_on_hand() {
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
        service.post("/inventory/adjust", body).await.refused(status, code);
    }
    service.assert_unchanged(&before);
    let body = json!({ "product_id": "cup", "delta": -3, "reason": "damaged" });
    assert_eq!(service.post("/inventory/adjust", body).await.assert(200)["available"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_count_of_many_is_applied() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let service = service.clone();
        let body =
            json!({ "product_id": "cup", "delta": 1, "reason": "counted", "expected_on_hand": 5 });
        tasks.spawn(async move { service.post("/inventory/adjust", body).await.status.as_u16() });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(service.stock("cup").await, [6, 0, 6]);
}
