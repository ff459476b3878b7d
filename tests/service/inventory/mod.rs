mod add_product;
mod adjust;
mod cancel;
mod confirm;
mod customer_reservations;
mod expire;
mod extend;
mod get_product;
mod get_reservation;
mod integrity;
mod list_products;
mod movements;
mod reserve;
mod update_product;

use serde_json::{Value, json};

use crate::support::{Call, HOUR, Service};

/// The field `lines` of a request.
fn lines(items: &[(&str, u64)]) -> Value {
    items
        .iter()
        .map(|(product, quantity)| json!({ "product_id": product, "quantity": quantity }))
        .collect()
}

/// Adds a product with a low-stock threshold, a limit for each customer, or both.
async fn add_limited(
    service: &Service,
    product: &str,
    stock: u64,
    low_stock: Option<u64>,
    max_per_customer: Option<u64>,
) {
    let body = json!({
        "product_id": product, "name": product, "price": "1", "initial_stock": stock,
        "low_stock": low_stock, "max_per_customer": max_per_customer
    });
    service.post("/inventory/products", body).await.assert(201);
}

/// Reserves units for an hour.
fn reserve_for(service: &Service, customer: &str, items: &[(&str, u64)]) -> Call {
    let body = json!({ "customer_id": customer, "lines": lines(items), "ttl_ms": HOUR });
    service.post("/inventory/reserve", body)
}

/// Reserves units for carol for an hour, and returns the id of the reservation.
async fn held(service: &Service, items: &[(&str, u64)]) -> String {
    let body = reserve_for(service, "carol", items).await.assert(201);
    body["reservation_id"].as_str().unwrap().to_owned()
}

fn confirm(service: &Service, id: &str) -> Call {
    service.post("/inventory/confirm", json!({ "reservation_id": id }))
}

fn confirm_part(service: &Service, id: &str, items: &[(&str, u64)], remainder: &str) -> Call {
    let body = json!({ "reservation_id": id, "lines": lines(items), "remainder": remainder });
    service.post("/inventory/confirm", body)
}

fn cancel(service: &Service, id: &str) -> Call {
    service.post("/inventory/cancel", json!({ "reservation_id": id }))
}

fn extend(service: &Service, id: &str, ttl_ms: i64) -> Call {
    service.post("/inventory/extend", json!({ "reservation_id": id, "ttl_ms": ttl_ms }))
}

async fn adjust(service: &Service, product: &str, delta: i64) -> Value {
    let body = json!({ "product_id": product, "delta": delta, "reason": "counted" });
    service.post("/inventory/adjust", body).await.assert(200)
}

async fn reservation(service: &Service, id: &str) -> Value {
    service.get(&format!("/inventory/reservations/{id}")).await.assert(200)
}

/// The units of a product on hand, reserved, available and sold.
async fn figures(service: &Service, product: &str) -> [u64; 4] {
    let body = service.get(&format!("/inventory/products/{product}")).await.assert(200);
    ["on_hand", "reserved", "available", "sold"].map(|name| body[name].as_u64().unwrap())
}

/// A reservation as a read returns it: without the fields that only the answer of a change has.
fn as_read(mut reservation: Value) -> Value {
    for line in reservation["lines"].as_array_mut().unwrap() {
        let line = line.as_object_mut().unwrap();
        line.remove("remaining");
        line.remove("low_stock");
    }
    reservation
}

/// Panics unless the service finds that all movements add up.
async fn assert_adds_up(service: &Service) {
    let answer = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(answer["ok"], true, "{answer:#}");
    let products = answer["products"].as_array().unwrap();
    assert!(products.iter().all(|product| product["ok"] == true), "{answer:#}");
}
