use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{add_limited, adjust, cancel, held};
use crate::support::{HOUR, Paging, Service, assert_rejects_invalid_paging, pages};

async fn ids(service: &Service, query: &str) -> Vec<Vec<String>> {
    let pages = pages(service, &format!("/inventory/products?{query}"), "products").await;
    let id = |product: Value| product["product_id"].as_str().unwrap().to_owned();
    pages.into_iter().map(|page| page.into_iter().map(id).collect()).collect()
}

#[tokio::test]
async fn each_entry_equals_the_answer_of_get() {
    let service = Service::new();
    assert_eq!(service.get("/inventory/products").await.assert(200), json!({ "products": [] }));
    let body = json!({
        "product_id": "cup", "name": "A \"cup\"", "description": "white", "price": "7.9",
        "currency": "EUR", "initial_stock": 5, "low_stock": 2, "max_per_customer": 3,
        "metadata": { "a": "\"" }
    });
    service.post("/inventory/products", body).await.assert(201);
    service.add_product("pot", 3).await;
    held(&service, &[("cup", 2), ("pot", 3)]).await;
    for available in [[3, 0], [5, 3]] {
        let answer = service.get("/inventory/products").await.assert(200);
        for (index, product) in ["cup", "pot"].into_iter().enumerate() {
            let one = service.get(&format!("/inventory/products/{product}")).await.assert(200);
            assert_eq!(answer["products"][index], one);
            assert_eq!(one["available"], available[index]);
        }
        assert_eq!(answer["products"].as_array().unwrap().len(), 2);
        // Expired units are available here as well, without any call in between.
        service.advance_ms(HOUR);
    }
}

#[tokio::test]
async fn pages_contain_each_product_once_in_order() {
    let service = Service::new();
    let names = ["a", "a-1", "a.b", "a:1", "a@b", "A", "B", "Z9", "a1", "ab", "b", "z", "0"];
    for name in names {
        service.add_product(name, 1).await;
    }
    let sorted: Vec<_> = BTreeSet::from(names).into_iter().map(str::to_owned).collect();
    for limit in [1, 2, 3, 12, 13, 14, 500] {
        let pages = ids(&service, &format!("limit={limit}")).await;
        assert_eq!(pages.concat(), sorted, "limit {limit}");
        assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == limit), "{pages:?}");
        assert!(!pages[pages.len() - 1].is_empty(), "{pages:?}");
    }
}

#[tokio::test]
async fn the_default_page_has_50_products() {
    let service = Service::new();
    for number in 0..51 {
        service.add_product(&format!("p{number:02}"), 1).await;
    }
    let page = service.get("/inventory/products").await.assert(200);
    assert_eq!(page["products"].as_array().unwrap().len(), 50);
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = service.get(&format!("/inventory/products?cursor={cursor}")).await.assert(200);
    assert_eq!(page["products"].as_array().unwrap().len(), 1);
    assert_eq!(page.get("next_cursor"), None);
}

#[tokio::test]
async fn filters_by_low_stock() {
    let service = Service::new();
    for number in 0..9 {
        // Every third product has a stock equal to its threshold, which is not low.
        let stock = if number % 3 == 0 { 5 } else { 10 };
        add_limited(&service, &format!("p{number}"), stock, Some(5), None).await;
    }
    service.add_product("without", 0).await;
    let low = async |service: &Service| {
        let mut found = Vec::new();
        for limit in [1, 2, 500] {
            found.push(ids(service, &format!("low_stock=true&limit={limit}")).await.concat());
        }
        assert!(found.iter().all(|ids| *ids == found[0]), "{found:?}");
        found.remove(0)
    };
    assert!(low(&service).await.is_empty());
    let id = held(&service, &[("p1", 6), ("p2", 5)]).await;
    adjust(&service, "p0", -1).await;
    adjust(&service, "p7", -7).await;
    assert_eq!(low(&service).await, ["p0", "p1", "p7"]);
    cancel(&service, &id).await.assert(200);
    adjust(&service, "p0", 1).await;
    assert_eq!(low(&service).await, ["p7"]);
    held(&service, &[("p4", 6), ("p3", 1)]).await;
    assert_eq!(low(&service).await, ["p3", "p4", "p7"]);
    service.advance_ms(HOUR);
    assert_eq!(low(&service).await, ["p7"]);
    let path = "/inventory/products/p7";
    service.patch(path, json!({ "low_stock": 3 })).await.assert(200);
    assert!(low(&service).await.is_empty());
    service.patch(path, json!({ "low_stock": 4 })).await.assert(200);
    assert_eq!(low(&service).await, ["p7"]);
    service.patch(path, json!({ "low_stock": null })).await.assert(200);
    assert!(low(&service).await.is_empty());
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    assert_rejects_invalid_paging(
        &service,
        "/inventory/products",
        Paging::Ids,
        &["low_stock=maybe", "low_stock="],
    )
    .await;
}
