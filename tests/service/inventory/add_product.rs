use serde_json::{Value, json};

use crate::support::Service;

#[tokio::test]
async fn adds_a_product() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "A \"cup\"", "description": "white", "price": "7.9",
        "currency": "EUR", "initial_stock": 5, "metadata": { "description": "x", "name": "y" }
    });
    let answer = service.post("/inventory/products", body).await;
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let mut body = answer.assert(201);
    body["created_at"].take();
    assert_eq!(
        body,
        json!({
            "product_id": "cup", "name": "A \"cup\"", "description": "white", "price": "7.90",
            "currency": "EUR", "on_hand": 5, "reserved": 0, "available": 5, "sold": 0,
            "low_stock": null, "max_per_customer": null,
            "metadata": { "description": "x", "name": "y" }, "version": 1, "created_at": null
        })
    );
}

#[tokio::test]
async fn refuses_an_existing_product_and_invalid_values() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let before = service.snapshot();
    let body = json!({ "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 9 });
    service.post("/inventory/products", body.clone()).await.expect_problem(409, "product_exists");
    for (field, value, code) in [
        ("price", json!("1.001"), "amount_scale_exceeded"),
        ("price", json!("-1"), "amount_not_positive"),
        ("initial_stock", json!(-1), "validation_failed"),
        ("initial_stock", json!(1.5), "validation_failed"),
        ("initial_stock", json!(1_000_000_000_001_u64), "validation_failed"),
        ("name", json!(""), "validation_failed"),
        ("name", json!("a\u{0}"), "validation_failed"),
        ("product_id", json!("a b"), "invalid_id"),
        ("max_per_customer", json!(0), "quantity_not_positive"),
        ("max_per_customer", json!("1"), "validation_failed"),
        ("max_per_customer", json!(1_000_000_000_001_u64), "validation_failed"),
        ("low_stock", json!("1"), "validation_failed"),
        ("low_stock", json!(1.5), "validation_failed"),
        ("low_stock", json!(1_000_000_000_001_u64), "validation_failed"),
        ("colour", json!("red"), "unknown_field"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let refused = service.post("/inventory/products", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], format!("/{field}"));
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn keeps_a_threshold_and_a_limit() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 5, "low_stock": 7,
        "max_per_customer": 2
    });
    let added = service.post("/inventory/products", body).await.assert(201);
    assert_eq!((&added["low_stock"], &added["max_per_customer"]), (&json!(7), &json!(2)));
    assert_eq!(service.get("/inventory/products/cup").await.assert(200), added);
    let low = service.get("/inventory/products?low_stock=true").await.assert(200);
    assert_eq!(low["products"], json!([added]), "it is low from the beginning");
    // So fewer units are no news, and the first thing to be told is that it is no longer low.
    for (delta, told) in [(-1, Value::Null), (1, Value::Null), (2, json!(false)), (-1, json!(true))]
    {
        let body = json!({ "product_id": "cup", "delta": delta, "reason": "counted" });
        let adjusted = service.post("/inventory/adjust", body).await.assert(200);
        assert_eq!(adjusted["low_stock"], told, "{delta}");
    }
}
