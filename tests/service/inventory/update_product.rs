use serde_json::{Value, json};

use super::{add_limited, assert_adds_up, cancel, figures, held, reserve_for};
use crate::support::{Call, Service, assert_if_match, race, race_each};

fn update(service: &Service, product: &str, body: Value) -> Call {
    service.patch(&format!("/inventory/products/{product}"), body)
}

async fn version(service: &Service, product: &str) -> u64 {
    let answer = service.get(&format!("/inventory/products/{product}")).await.assert(200);
    answer["version"].as_u64().unwrap()
}

#[tokio::test]
async fn changes_only_the_named_fields() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "description": "white", "price": "7.9",
        "currency": "EUR", "initial_stock": 5, "low_stock": 2, "max_per_customer": 3,
        "metadata": { "a": "1" }
    });
    let mut expected = service.post("/inventory/products", body).await.assert(201);
    let first = expected["version"].as_u64().unwrap();
    for (number, (field, given, found)) in [
        ("name", json!("A \"%1\" cup"), json!("A \"%1\" cup")),
        ("description", json!("blue %"), json!("blue %")),
        ("price", json!("8"), json!("8.00")),
        ("low_stock", json!(4), json!(4)),
        ("max_per_customer", json!(9), json!(9)),
        ("metadata", json!({ "b": "%1\"" }), json!({ "b": "%1\"" })),
        ("description", json!(null), json!(null)),
        ("low_stock", json!(null), json!(null)),
        ("max_per_customer", json!(null), json!(null)),
        ("description", json!("again"), json!("again")),
        ("metadata", json!({}), json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({});
        body[field] = given;
        let answer = update(&service, "cup", body).await;
        let version = first + 1 + number as u64;
        assert_eq!(answer.header("etag"), Some(format!("\"{version}\"").as_str()));
        expected[field] = found;
        expected["version"] = version.into();
        assert_eq!(answer.assert(200), expected, "{field}");
        let found = service.get("/inventory/products/cup").await.assert(200);
        assert_eq!(found, expected, "{field}");
    }
    let body = json!({ "name": "Mug", "price": "0.01", "low_stock": 1, "max_per_customer": 1 });
    let body = update(&service, "cup", body).await.assert(200);
    assert_eq!((&body["name"], &body["price"]), (&json!("Mug"), &json!("0.01")));
    assert_eq!((&body["low_stock"], &body["max_per_customer"]), (&json!(1), &json!(1)));
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn an_update_to_the_same_values_changes_nothing() {
    let service = Service::new();
    add_limited(&service, "cup", 5, Some(2), Some(3)).await;
    let first = version(&service, "cup").await;
    let before = service.snapshot();
    for body in [
        json!({}),
        json!({ "name": "cup", "description": null, "price": "1.00" }),
        json!({ "low_stock": 2, "max_per_customer": 3, "metadata": {} }),
    ] {
        assert_eq!(update(&service, "cup", body).await.assert(200)["version"], first);
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn if_match_needs_the_current_version() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let first = version(&service, "cup").await;
    let rename = |name: &str| update(&service, "cup", json!({ "name": name }));
    assert_if_match(&service, first, rename("Mug")).await;
    rename("Jug").if_match("*").await.assert(200);
    // Reserved units change the version too.
    held(&service, &[("cup", 1)]).await;
    let tag = |version: u64| format!("\"{version}\"");
    let stale = rename("Pot").if_match(tag(first + 2)).await;
    stale.expect_problem(412, "version_mismatch");
    rename("Pot").if_match(tag(first + 3)).await.assert(200);
}

#[tokio::test]
async fn a_price_is_in_the_currency_of_its_product() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "700", "currency": "JPY", "initial_stock": 1
    });
    service.post("/inventory/products", body).await.assert(201);
    service.add_product("pot", 1).await;
    let before = service.snapshot();
    for (product, price, code) in [
        ("cup", "1.5", "amount_scale_exceeded"),
        ("pot", "1.001", "amount_scale_exceeded"),
        ("pot", "1234567890123456789012345678", "amount_out_of_range"),
    ] {
        let refused =
            update(&service, product, json!({ "price": price })).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], "/price", "{refused:#}");
    }
    service.assert_unchanged(&before);
    assert_eq!(update(&service, "cup", json!({ "price": "15" })).await.assert(200)["price"], "15");
    let body = update(&service, "pot", json!({ "price": "1.5" })).await.assert(200);
    assert_eq!(body["price"], "1.50");
}

#[tokio::test]
async fn refuses_bad_input() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let before = service.snapshot();
    for (body, code, pointer) in [
        (json!({ "name": null }), "validation_failed", "/name"),
        (json!({ "name": "" }), "validation_failed", "/name"),
        (json!({ "price": null }), "validation_failed", "/price"),
        (json!({ "price": "-1" }), "amount_not_positive", "/price"),
        (json!({ "price": "x" }), "invalid_amount", "/price"),
        (json!({ "metadata": null }), "validation_failed", "/metadata"),
        (json!({ "metadata": { "a": 1 } }), "validation_failed", "/metadata/a"),
        (json!({ "low_stock": 1.5 }), "validation_failed", "/low_stock"),
        (json!({ "max_per_customer": 0 }), "quantity_not_positive", "/max_per_customer"),
        (json!({ "max_per_customer": "1" }), "validation_failed", "/max_per_customer"),
        (json!({ "currency": "EUR" }), "unknown_field", "/currency"),
        (json!({ "on_hand": 7 }), "unknown_field", "/on_hand"),
    ] {
        let refused = update(&service, "cup", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    let refused = update(&service, "no", json!({ "name": "x" })).await;
    assert_eq!(refused.expect_problem(404, "product_not_found")["product_id"], "no");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn a_new_limit_applies_at_once() {
    let service = Service::new();
    add_limited(&service, "cup", 100, None, Some(2)).await;
    held(&service, &[("cup", 2)]).await;
    let refused = reserve_for(&service, "carol", &[("cup", 1)]).await;
    refused.expect_problem(409, "customer_limit_exceeded");
    update(&service, "cup", json!({ "max_per_customer": 3 })).await.assert(200);
    held(&service, &[("cup", 1)]).await;
    let refused = reserve_for(&service, "carol", &[("cup", 1)]).await;
    assert_eq!(refused.expect_problem(409, "customer_limit_exceeded")["used"], 3);
    update(&service, "cup", json!({ "max_per_customer": null })).await.assert(200);
    held(&service, &[("cup", 50)]).await;
    assert_eq!(figures(&service, "cup").await, [100, 53, 47, 0]);
}

/// Units that a customer no longer has do not count, whatever happened to the limit meanwhile.
#[tokio::test]
async fn a_limit_that_is_set_again_counts_current_holds() {
    let service = Service::new();
    add_limited(&service, "cup", 100, None, Some(2)).await;
    let id = held(&service, &[("cup", 2)]).await;
    update(&service, "cup", json!({ "max_per_customer": null })).await.assert(200);
    cancel(&service, &id).await.assert(200);
    update(&service, "cup", json!({ "max_per_customer": 2 })).await.assert(200);
    held(&service, &[("cup", 2)]).await;
    assert_eq!(figures(&service, "cup").await, [100, 2, 98, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_updates_with_the_same_version_succeeds() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let first = version(&service, "cup").await;
    let tasks = race(50, |number| {
        let body = json!({ "name": format!("name {number}") });
        update(&service, "cup", body).if_match(format!("\"{first}\""))
    });
    let answers = tasks.await;
    assert_eq!(answers.count(200), 1);
    assert_eq!(answers.count_code("version_mismatch"), 49);
    assert_eq!(version(&service, "cup").await, first + 1);
}

/// Names change while units are reserved, and neither change overwrites the other.
#[tokio::test(flavor = "multi_thread")]
async fn updates_and_reservations_race_without_loss() {
    let service = Service::new();
    service.add_product("cup", 70).await;
    let first = version(&service, "cup").await;
    let tasks = race_each(0..200_u64, |number| {
        let service = service.clone();
        async move {
            if number % 2 == 0 {
                let body = json!({ "name": format!("name {number}") });
                (false, update(&service, "cup", body).await.status.as_u16())
            } else {
                (true, reserve_for(&service, "carol", &[("cup", 1)]).await.status.as_u16())
            }
        }
    });
    let results = tasks.await;
    assert_eq!(results.iter().filter(|end| **end == (false, 200)).count(), 100);
    assert_eq!(results.iter().filter(|end| **end == (true, 201)).count(), 70);
    assert_eq!(results.iter().filter(|end| **end == (true, 409)).count(), 30);
    assert_eq!(figures(&service, "cup").await, [70, 70, 0, 0]);
    assert_eq!(version(&service, "cup").await, first + 170);
    assert_adds_up(&service).await;
}
