use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Process, Service};

#[tokio::test]
async fn sets_units_aside() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.add_product("pot", 3).await;
    let body = json!({
        "customer_id": "carol",
        "lines": [{ "product_id": "cup", "quantity": 2 }, { "product_id": "pot", "quantity": 3 }]
    });
    let body = service.post("/inventory/reserve", body).await.assert(201);
    assert!(body["reservation_id"].as_str().unwrap().starts_with("res_"));
    assert_eq!((&body["status"], &body["customer_id"]), (&json!("held"), &json!("carol")));
    assert_eq!(
        body["lines"],
        json!([
            { "product_id": "cup", "quantity": 2, "remaining": 3 },
            { "product_id": "pot", "quantity": 3, "remaining": 0 }
        ])
    );
    assert_eq!((service.stock("cup").await, service.stock("pot").await), ([5, 2, 3], [3, 3, 0]));
}

#[tokio::test]
async fn all_lines_or_none_with_every_shortage() {
    let service = Service::new();
    for (product, stock) in [("cup", 5), ("pot", 3), ("tea", 1)] {
        service.add_product(product, stock).await;
    }
    let before = service.snapshot();
    let body = json!({
        "customer_id": "carol",
        "lines": [
            { "product_id": "cup", "quantity": 2 }, { "product_id": "pot", "quantity": 4 },
            { "product_id": "tea", "quantity": 2 }
        ]
    });
    let refused = service.post("/inventory/reserve", body).await.refused(409, "insufficient_stock");
    assert_eq!(
        refused["shortages"],
        json!([
            { "product_id": "pot", "requested": 4, "available": 3 },
            { "product_id": "tea", "requested": 2, "available": 1 }
        ])
    );
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn two_lines_of_one_product_count_together() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let lines = |second: u64| {
        json!({
            "customer_id": "carol",
            "lines": [{ "product_id": "cup", "quantity": 3 }, { "product_id": "cup", "quantity": second }]
        })
    };
    let refused =
        service.post("/inventory/reserve", lines(3)).await.refused(409, "insufficient_stock");
    assert_eq!(refused["shortages"][0]["requested"], 6);
    let body = service.post("/inventory/reserve", lines(2)).await.assert(201);
    assert_eq!(body["lines"], json!([{ "product_id": "cup", "quantity": 5, "remaining": 0 }]));
}

#[tokio::test]
async fn refuses_what_is_no_order() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let before = service.snapshot();
    let line = |quantity: Value| json!([{ "product_id": "cup", "quantity": quantity }]);
    for (order, code) in [
        (json!({ "lines": line(json!(0)) }), "quantity_not_positive"),
        (json!({ "lines": line(json!(-1)) }), "quantity_not_positive"),
        (json!({ "lines": line(json!(1.5)) }), "validation_failed"),
        (json!({ "lines": line(json!("1")) }), "validation_failed"),
        (json!({ "lines": line(json!(1e300)) }), "validation_failed"),
        (json!({ "lines": [] }), "validation_failed"),
        (
            json!({ "lines": vec![json!({ "product_id": "cup", "quantity": 1 }); 101] }),
            "validation_failed",
        ),
        (json!({ "lines": line(json!(1)), "product_id": "cup" }), "validation_failed"),
        (json!({ "product_id": "cup" }), "validation_failed"),
        (json!({ "product_id": "cup", "quantity": 1, "ttl_ms": 0 }), "validation_failed"),
        (
            json!({ "product_id": "cup", "quantity": 1, "ttl_ms": 2_592_000_001_u64 }),
            "validation_failed",
        ),
        (json!({ "product_id": "c}p", "quantity": 1 }), "invalid_id"),
        (json!({ "lines": [{ "product_id": "cup", "quantity": 1, "price": 1 }] }), "unknown_field"),
        (
            json!({ "lines": vec![json!({ "product_id": "cup", "quantity": 1_000_000_000_000_u64 }); 2] }),
            "validation_failed",
        ),
    ] {
        let mut body = json!({ "customer_id": "carol" });
        body.as_object_mut().unwrap().extend(order.as_object().unwrap().clone());
        service.post("/inventory/reserve", body).await.refused(422, code);
    }
    let refused = service.reserve("no", 1, 1000).await.refused(404, "product_not_found");
    assert_eq!(refused["product_id"], "no");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn units_come_back_for_whoever_asks_next() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.reserve("cup", 3, 86_400_000).await.assert(201);
    service.reserve("cup", 2, 172_800_000).await.assert(201);
    service.reserve("cup", 1, 1000).await.refused(409, "insufficient_stock");
    service.advance_ms(86_400_000);
    service.reserve("cup", 4, 1000).await.refused(409, "insufficient_stock");
    service.reserve("cup", 3, 86_400_000).await.assert(201);
    service.advance_ms(86_400_000);
    assert_eq!(service.stock("cup").await, [5, 0, 5]);
    service.reserve("cup", 5, 86_400_000).await.assert(201);
    // The holds that were taken back have left the set as well.
    let holds: Vec<String> = redis::cmd("ZRANGE")
        .arg(service.key("holds", "cup"))
        .arg(0)
        .arg(-1)
        .query(&mut crate::support::raw())
        .unwrap();
    assert_eq!(holds.len(), 1);
    assert!(holds[0].starts_with("5:res_"), "{holds:?}");
}

/// Stock S and requests of q: exactly floor(S/q) succeed.
#[tokio::test(flavor = "multi_thread")]
async fn never_one_too_many_and_never_one_too_few() {
    for (stock, quantity) in [(100, 1), (100, 7), (10, 3), (5, 6), (64, 64)] {
        let service = Service::new();
        service.add_product("cup", stock).await;
        let mut tasks = JoinSet::new();
        for _ in 0..200 {
            let service = service.clone();
            tasks.spawn(
                async move { service.reserve("cup", quantity, 60_000).await.status.as_u16() },
            );
        }
        let statuses = tasks.join_all().await;
        let held = statuses.iter().filter(|status| **status == 201).count() as u64;
        assert_eq!(held, stock / quantity, "stock {stock}, quantity {quantity}");
        assert_eq!(service.stock("cup").await, [stock, held * quantity, stock - held * quantity]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_and_a_hundred_units_twice() {
    let service = Service::new();
    service.add_product("cup", 100).await;
    for round in 0..2 {
        let mut tasks = JoinSet::new();
        for _ in 0..1000 {
            let service = service.clone();
            tasks.spawn(async move { service.reserve("cup", 1, 86_400_000).await.status.as_u16() });
        }
        let statuses = tasks.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 100, "round {round}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 900, "round {round}");
        service.advance_ms(86_400_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_stock() {
    let service = Service::new();
    service.add_product("cup", 70).await;
    let processes = std::sync::Arc::new([Process::shared(), Process::shared()]);
    let mut tasks = JoinSet::new();
    for task in 0..200 {
        let (processes, space) = (processes.clone(), service.space.clone());
        tasks.spawn(async move {
            let body = json!({ "customer_id": "carol", "product_id": "cup", "quantity": 1 });
            let key = format!("reserve-{task}");
            let answer = processes[task % 2].post(&space, "/inventory/reserve", &body, &key).await;
            answer.unwrap().status.as_u16()
        });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 70);
    assert_eq!(service.stock("cup").await, [70, 70, 0]);
}
