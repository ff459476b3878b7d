use serde_json::{Value, json};

use super::{add_limited, assert_adds_up, cancel, confirm, confirm_part, held, lines, reserve_for};
use crate::support::{HOUR, Process, Service, race, race_each};

#[tokio::test]
async fn reserves_units() {
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
    assert_eq!(body["extensions"], 0);
    assert_eq!(
        body["lines"],
        json!([
            { "product_id": "cup", "quantity": 2, "confirmed": 0, "released": 0, "held": 2, "remaining": 3 },
            { "product_id": "pot", "quantity": 3, "confirmed": 0, "released": 0, "held": 3, "remaining": 0 }
        ])
    );
    assert_eq!((service.stock("cup").await, service.stock("pot").await), ([5, 2, 3], [3, 3, 0]));
}

#[tokio::test]
async fn reserves_all_lines_or_none_and_names_every_shortage() {
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
    let refused =
        service.post("/inventory/reserve", body).await.expect_problem(409, "insufficient_stock");
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
    let refused = service
        .post("/inventory/reserve", lines(3))
        .await
        .expect_problem(409, "insufficient_stock");
    assert_eq!(refused["shortages"][0]["requested"], 6);
    let body = service.post("/inventory/reserve", lines(2)).await.assert(201);
    assert_eq!(
        body["lines"],
        json!([{ "product_id": "cup", "quantity": 5, "confirmed": 0, "released": 0, "held": 5, "remaining": 0 }])
    );
}

#[tokio::test]
async fn refuses_invalid_input() {
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
        service.post("/inventory/reserve", body).await.expect_problem(422, code);
    }
    let refused = service.reserve("no", 1, 1000).await.expect_problem(404, "product_not_found");
    assert_eq!(refused["product_id"], "no");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn expired_units_can_be_reserved_at_once() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.reserve("cup", 3, 86_400_000).await.assert(201);
    service.reserve("cup", 2, 172_800_000).await.assert(201);
    service.reserve("cup", 1, 1000).await.expect_problem(409, "insufficient_stock");
    service.advance_ms(86_400_000);
    service.reserve("cup", 4, 1000).await.expect_problem(409, "insufficient_stock");
    service.reserve("cup", 3, 86_400_000).await.assert(201);
    service.advance_ms(86_400_000);
    assert_eq!(service.stock("cup").await, [5, 0, 5]);
    service.reserve("cup", 5, 86_400_000).await.assert(201);
    // The reclaimed holds have left the set as well.
    let holds: Vec<Vec<u8>> = redis::cmd("ZRANGE")
        .arg(service.key("product_holds", "cup"))
        .arg(0)
        .arg(-1)
        .query(&mut service.raw())
        .unwrap();
    assert_eq!(holds.len(), 1);
    assert_eq!(holds[0][..5], [5, 0, 0, 0, 0], "units, lowest byte first");
}

/// With a stock of S and requests of q units, exactly floor(S/q) succeed.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reservations_use_exactly_the_stock() {
    for (stock, quantity) in [(100, 1), (100, 7), (10, 3), (5, 6), (64, 64), (499, 1), (600, 1)] {
        let service = Service::new();
        service.add_product("cup", stock).await;
        let answers = race(500, |_| service.reserve("cup", quantity, 60_000)).await;
        let held = answers.count(201) as u64;
        assert_eq!(held, 500.min(stock / quantity), "stock {stock}, quantity {quantity}");
        assert_eq!(answers.count_code("insufficient_stock") as u64, 500 - held);
        assert_eq!(service.stock("cup").await, [stock, held * quantity, stock - held * quantity]);
        assert_adds_up(&service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_reserve_a_hundred_units_twice() {
    let service = Service::new();
    service.add_product("cup", 100).await;
    for round in 0..2 {
        let answers = race(1000, |_| service.reserve("cup", 1, 86_400_000)).await;
        assert_eq!(answers.count(201), 100, "round {round}");
        assert_eq!(answers.count(409), 900, "round {round}");
        assert_eq!(answers.count_code("insufficient_stock"), 900, "round {round}");
        service.advance_ms(86_400_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_stock() {
    let processes = std::sync::Arc::new([Process::shared(), Process::shared()]);
    for (stock, quantity) in [(70, 1), (100, 7), (499, 3), (6, 7)] {
        let service = Service::new();
        service.add_product("cup", stock).await;
        let answers = race(500, |task| {
            let (processes, space) = (processes.clone(), service.space.clone());
            async move {
                let body = json!({
                    "customer_id": "carol", "product_id": "cup", "quantity": quantity
                });
                let key = format!("reserve-{task}");
                let process = &processes[task % 2];
                process.post(&space, "/inventory/reserve", &body, &key).await.unwrap()
            }
        })
        .await;
        let held = answers.count(201) as u64;
        assert_eq!(held, stock / quantity, "stock {stock}, quantity {quantity}");
        assert_eq!(answers.count_code("insufficient_stock") as u64, 500 - held);
        assert_eq!(service.stock("cup").await, [stock, held * quantity, stock - held * quantity]);
    }
}

/// A product with a limit of three for each customer, of which carol has bought one and reserved two.
async fn with_a_limit() -> Service {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 100, "max_per_customer": 3
    });
    service.post("/inventory/products", body).await.assert(201);
    let bought = service.reserve("cup", 1, 600_000).await.assert(201);
    let body = json!({ "reservation_id": bought["reservation_id"] });
    service.post("/inventory/confirm", body).await.assert(200);
    service.reserve("cup", 2, 600_000).await.assert(201);
    service
}

#[tokio::test]
async fn refuses_more_than_the_limit_of_a_customer() {
    let service = with_a_limit().await;
    let before = service.snapshot();
    let refused =
        service.reserve("cup", 1, 1000).await.expect_problem(409, "customer_limit_exceeded");
    assert_eq!(
        [&refused["requested"], &refused["used"], &refused["max_per_customer"]],
        [&json!(1), &json!(3), &json!(3)]
    );
    assert_eq!(refused["detail"], "carol has 3 units of cup and asks for 1 more: 3 is the most.");
    service.assert_unchanged(&before);
    let dave = json!({ "customer_id": "dave", "product_id": "cup", "quantity": 3 });
    service.post("/inventory/reserve", dave).await.assert(201);
    // The reservation of carol has expired; the unit that she bought still counts.
    service.advance_ms(600_000);
    service.reserve("cup", 3, 1000).await.expect_problem(409, "customer_limit_exceeded");
    let again = service.reserve("cup", 2, 600_000).await.assert(201);
    let body = json!({ "reservation_id": again["reservation_id"] });
    service.post("/inventory/cancel", body).await.assert(200);
    service.reserve("cup", 2, 600_000).await.assert(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_customer_is_exact_under_contention() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 1000, "max_per_customer": 7
    });
    service.post("/inventory/products", body).await.assert(201);
    let answers = race(100, |_| service.reserve("cup", 2, 60_000)).await;
    assert_eq!(answers.count(201), 3);
    assert_eq!(answers.count(409), 97);
    assert_eq!(answers.count_code("customer_limit_exceeded"), 97);
    assert_eq!(service.stock("cup").await, [1000, 6, 994]);
}

#[tokio::test]
async fn reports_each_low_stock_crossing_once() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 6, "low_stock": 4
    });
    service.post("/inventory/products", body).await.assert(201);
    let line = |answer: &Value| answer["lines"][0].get("low_stock").cloned();
    let two = service.reserve("cup", 2, 600_000).await.assert(201);
    assert_eq!(line(&two), None, "four are left, which is not below four");
    let one = service.reserve("cup", 1, 600_000).await.assert(201);
    assert_eq!(line(&one), Some(json!(true)));
    assert_eq!(line(&service.reserve("cup", 1, 9_000_000).await.assert(201)), None);
    let body = json!({ "reservation_id": one["reservation_id"] });
    assert_eq!(line(&service.post("/inventory/cancel", body).await.assert(200)), None);
    let more = json!({ "product_id": "cup", "delta": 1, "reason": "received" });
    let more = service.post("/inventory/adjust", more).await.assert(200);
    assert_eq!(more["low_stock"], false);
    let fewer = json!({ "product_id": "cup", "delta": -1, "reason": "lost" });
    let fewer = service.post("/inventory/adjust", fewer).await.assert(200);
    assert_eq!(fewer["low_stock"], true);
    // Expired units end the low stock, and the next change reports it.
    service.advance_ms(600_000);
    let next = service.reserve("cup", 1, 600_000).await.assert(201);
    assert_eq!(line(&next), Some(json!(false)));
    let metrics = service.get("/inventory/products?low_stock=true").await.assert(200);
    assert_eq!(metrics["products"], json!([]));
}

#[tokio::test]
async fn the_limit_of_a_customer_covers_all_lines_and_reservations() {
    let service = Service::new();
    add_limited(&service, "cup", 100, None, Some(6)).await;
    service.add_product("pot", 100).await;
    reserve_for(&service, "carol", &[("cup", 7)])
        .await
        .expect_problem(409, "customer_limit_exceeded");
    held(&service, &[("cup", 4)]).await;
    let before = service.snapshot();
    for order in [vec![("cup", 3)], vec![("cup", 1), ("cup", 2)], vec![("pot", 1), ("cup", 3)]] {
        let refused = reserve_for(&service, "carol", &order).await;
        let refused = refused.expect_problem(409, "customer_limit_exceeded");
        assert_eq!(
            [&refused["product_id"], &refused["customer_id"]],
            [&json!("cup"), &json!("carol")]
        );
        assert_eq!(
            [&refused["requested"], &refused["used"], &refused["max_per_customer"]],
            [&json!(3), &json!(4), &json!(6)]
        );
    }
    service.assert_unchanged(&before);
    held(&service, &[("cup", 2), ("pot", 50)]).await;
    // Each customer has a limit of their own, and each product.
    reserve_for(&service, "dave", &[("cup", 6)]).await.assert(201);
    reserve_for(&service, "dave", &[("cup", 1)])
        .await
        .expect_problem(409, "customer_limit_exceeded");
    assert_eq!(service.stock("cup").await, [100, 12, 88]);
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn released_units_no_longer_count_against_the_limit() {
    let service = Service::new();
    add_limited(&service, "cup", 100, None, Some(6)).await;
    let used = async |requested: u64| {
        let before = service.snapshot();
        let refused = reserve_for(&service, "carol", &[("cup", requested)]).await;
        let refused = refused.expect_problem(409, "customer_limit_exceeded");
        service.assert_unchanged(&before);
        refused["used"].as_u64().unwrap()
    };
    let id = held(&service, &[("cup", 6)]).await;
    assert_eq!(used(1).await, 6);
    cancel(&service, &id).await.assert(200);
    assert_eq!(used(7).await, 0);
    held(&service, &[("cup", 6)]).await;
    service.advance_ms(HOUR);
    assert_eq!(used(7).await, 0);
    let id = held(&service, &[("cup", 5)]).await;
    confirm_part(&service, &id, &[("cup", 1)], "keep").await.assert(200);
    assert_eq!(used(2).await, 5);
    confirm_part(&service, &id, &[("cup", 1)], "release").await.assert(200);
    assert_eq!(used(5).await, 2);
    let id = held(&service, &[("cup", 4)]).await;
    confirm(&service, &id).await.assert(200);
    assert_eq!(used(1).await, 6);
    // Sold units count for ever.
    service.advance_ms(HOUR);
    assert_eq!(used(1).await, 6);
    assert_eq!(service.stock("cup").await, [94, 0, 94]);
    assert_adds_up(&service).await;
}

/// One customer makes a hundred calls at once, and others make one each.
#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_concurrent_customers_are_exact() {
    for (limit, quantity, others) in [(7, 2, 0), (50, 1, 20), (6, 6, 3), (5, 6, 1)] {
        let service = Service::new();
        add_limited(&service, "cup", 1000, None, Some(limit)).await;
        let tasks = race_each(0..100 + others, |task| {
            let service = service.clone();
            async move {
                let customer = if task < 100 { "carol".to_owned() } else { format!("c{task}") };
                (task < 100, reserve_for(&service, &customer, &[("cup", quantity)]).await)
            }
        });
        let (mut hers, mut theirs) = (0, 0);
        for (is_hers, answer) in tasks.await {
            if answer.status.as_u16() == 201 {
                hers += u64::from(is_hers);
                theirs += u64::from(!is_hers);
            } else {
                answer.expect_problem(409, "customer_limit_exceeded");
            }
        }
        assert_eq!(hers, limit / quantity, "limit {limit}, quantity {quantity}");
        assert_eq!(theirs, if quantity <= limit { others } else { 0 });
        let reserved = (hers + theirs) * quantity;
        assert_eq!(service.stock("cup").await, [1000, reserved, 1000 - reserved]);
        assert_adds_up(&service).await;
    }
}

#[tokio::test]
async fn each_line_reports_low_stock_of_its_product() {
    let service = Service::new();
    add_limited(&service, "cup", 10, Some(5), None).await;
    add_limited(&service, "pot", 10, Some(8), None).await;
    service.add_product("tea", 1).await;
    let order = [("cup", 5), ("pot", 3), ("tea", 1)];
    let body = reserve_for(&service, "carol", &order).await.assert(201);
    let answer = [0_usize, 1, 2].map(|line| body["lines"][line].get("low_stock"));
    assert_eq!(answer, [None, Some(&json!(true)), None]);
    let body = reserve_for(&service, "carol", &[("pot", 1), ("cup", 1)]).await.assert(201);
    let answer = [0_usize, 1].map(|line| body["lines"][line].get("low_stock"));
    assert_eq!(answer, [None, Some(&json!(true))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_callers_reports_the_low_stock_crossing() {
    let service = Service::new();
    add_limited(&service, "cup", 100, Some(30), None).await;
    let tasks = race(100, |_| {
        service.post(
            "/inventory/reserve",
            json!({ "customer_id": "carol", "lines": lines(&[("cup", 1)]) }),
        )
    });
    let answers = tasks.await;
    let found: Vec<_> = answers
        .iter()
        .map(|answer| &answer.body["lines"][0])
        .filter(|line| line.get("low_stock").is_some())
        .map(|line| (&line["low_stock"], &line["remaining"]))
        .collect();
    assert_eq!(found, [(&json!(true), &json!(29))]);
}

#[tokio::test]
async fn returned_units_are_reported_after_an_update_of_the_product() {
    let service = Service::new();
    let body = json!({
        "product_id": "cup", "name": "Cup", "price": "1", "initial_stock": 6, "low_stock": 4
    });
    service.post("/inventory/products", body).await.assert(201);
    let low = service.reserve("cup", 3, 600_000).await.assert(201);
    assert_eq!(low["lines"][0]["low_stock"], true);
    service.advance_ms(600_000);
    let words = json!({ "name": "Mug" });
    service.patch("/inventory/products/cup", words).await.assert(200);
    let next = service.reserve("cup", 1, 600_000).await.assert(201);
    assert_eq!(next["lines"][0]["low_stock"], false);
}

#[tokio::test]
async fn the_list_of_a_customer_is_bounded() {
    let service = Service::with(|settings| settings.retention.history = 100);
    service.add_product("cup", 1000).await;
    for _ in 0..1000 {
        service.reserve("cup", 1, 600_000).await.assert(201);
    }
    let key = service.key("reservations", "carol");
    let length: u64 = redis::cmd("ZCARD").arg(key).query(&mut service.raw()).unwrap();
    // The list is cut to 100 by the calls 358, 616 and 874, which each find 357.
    assert_eq!(length, 226);
}
