use serde_json::{Value, json};

use super::{
    adjust, assert_adds_up, cancel, confirm, confirm_part, extend, figures, held, reservation,
};
use crate::support::{HOUR, Paging, Service, assert_rejects_invalid_paging, pages, race};

async fn movements(service: &Service, product: &str) -> Vec<Value> {
    let path = format!("/inventory/products/{product}/movements?limit=500");
    pages(service, &path, "movements").await.concat()
}

fn number(movement: &Value, name: &str) -> i64 {
    movement[name].as_i64().unwrap()
}

/// Panics unless each movement begins with the figures that the one before it ended with, and the
/// newest ends with those of the product.
async fn assert_chain(service: &Service, product: &str, movements: &[Value]) {
    let mut so_far = [0, 0];
    for movement in movements.iter().rev() {
        so_far[0] += number(movement, "on_hand_change");
        so_far[1] += number(movement, "reserved_change");
        let answer = [number(movement, "on_hand"), number(movement, "reserved")];
        assert_eq!(answer, so_far, "{movements:#?}");
    }
    let [on_hand, reserved, ..] = figures(service, product).await;
    assert_eq!(so_far.map(i64::unsigned_abs), [on_hand, reserved], "{movements:#?}");
}

/// A movement without its time.
fn without_time(movement: &Value) -> Value {
    let mut movement = movement.clone();
    movement.as_object_mut().unwrap().remove("created_at").unwrap();
    movement
}

#[tokio::test]
async fn lists_every_change_newest_first() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let body = json!({
        "product_id": "cup", "delta": 7, "reason": "received", "reference": "d\"7"
    });
    service.post("/inventory/adjust", body).await.assert(200);
    let body = json!({ "product_id": "cup", "delta": -1, "reason": "damaged" });
    service.post("/inventory/adjust", body).await.assert(200);
    let sold = held(&service, &[("cup", 2)]).await;
    confirm(&service, &sold).await.assert(200);
    let cancelled = held(&service, &[("cup", 3)]).await;
    cancel(&service, &cancelled).await.assert(200);
    let answer = movements(&service, "cup").await;
    let expected = json!([
        {
            "reason": "released", "on_hand_change": 0, "reserved_change": -3,
            "on_hand": 9, "reserved": 0, "actor": "carol", "reference": cancelled
        },
        {
            "reason": "reserved", "on_hand_change": 0, "reserved_change": 3,
            "on_hand": 9, "reserved": 3, "actor": "carol", "reference": cancelled
        },
        {
            "reason": "sold", "on_hand_change": -2, "reserved_change": -2,
            "on_hand": 9, "reserved": 0, "actor": "carol", "reference": sold
        },
        {
            "reason": "reserved", "on_hand_change": 0, "reserved_change": 2,
            "on_hand": 11, "reserved": 2, "actor": "carol", "reference": sold
        },
        {
            "reason": "damaged", "on_hand_change": -1, "reserved_change": 0,
            "on_hand": 11, "reserved": 0, "actor": null, "reference": null
        },
        {
            "reason": "received", "on_hand_change": 7, "reserved_change": 0,
            "on_hand": 12, "reserved": 0, "actor": null, "reference": "d\"7"
        },
        {
            "reason": "initial", "on_hand_change": 5, "reserved_change": 0,
            "on_hand": 5, "reserved": 0, "actor": null, "reference": null
        }
    ]);
    assert_eq!(answer.iter().map(without_time).collect::<Value>(), expected);
    assert_chain(&service, "cup", &answer).await;
    let product = service.get("/inventory/products/cup").await.assert(200);
    assert_eq!(answer[6]["created_at"], product["created_at"]);
    assert_eq!(answer[1]["created_at"], reservation(&service, &cancelled).await["created_at"]);
    let page = service.get("/inventory/products/cup/movements").await.assert(200);
    assert_eq!((&page["history_complete"], page.get("next_cursor")), (&json!(true), None));
}

#[tokio::test]
async fn a_partial_confirmation_is_two_movements() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.add_product("pot", 5).await;
    let id = held(&service, &[("cup", 4), ("pot", 2)]).await;
    confirm_part(&service, &id, &[("cup", 1)], "keep").await.assert(200);
    assert_eq!(movements(&service, "pot").await.len(), 2, "no unit of it has moved");
    confirm_part(&service, &id, &[("cup", 2)], "release").await.assert(200);
    let cups = movements(&service, "cup").await;
    assert_chain(&service, "cup", &cups).await;
    let mut answer: Vec<_> = cups
        .iter()
        .map(|it| (it["reason"].as_str().unwrap(), number(it, "reserved_change")))
        .collect();
    answer.sort();
    let expected = [("initial", 0), ("released", -1), ("reserved", 4), ("sold", -2), ("sold", -1)];
    assert_eq!(answer, expected);
    let pots = movements(&service, "pot").await;
    assert_chain(&service, "pot", &pots).await;
    assert_eq!(
        without_time(&pots[0]),
        json!({
            "reason": "released", "on_hand_change": 0, "reserved_change": -2,
            "on_hand": 5, "reserved": 0, "actor": "carol", "reference": id
        })
    );
    assert_eq!(pots.len(), 3);
}

#[tokio::test]
async fn an_expiry_has_the_time_at_which_it_happened() {
    let service = Service::new();
    service.add_product("cup", 9).await;
    let late = held(&service, &[("cup", 4)]).await;
    let soon = service.reserve("cup", 2, 600_000).await.assert(201);
    let soon = soon["reservation_id"].as_str().unwrap();
    extend(&service, &late, 2 * HOUR).await.assert(200);
    service.advance_ms(3 * HOUR);
    let before = service.snapshot();
    movements(&service, "cup").await;
    service.assert_unchanged(&before);
    adjust(&service, "cup", 1).await;
    let answer = movements(&service, "cup").await;
    assert_chain(&service, "cup", &answer).await;
    let expired = |id: &str, change: i64, reserved: i64| {
        json!({
            "reason": "expired", "on_hand_change": 0, "reserved_change": change,
            "on_hand": 9, "reserved": reserved, "actor": null, "reference": id
        })
    };
    // Both reservations expired one after the other, before the call that reclaimed them.
    assert_eq!(answer[0]["reason"], "counted");
    assert_eq!(without_time(&answer[1]), expired(&late, -4, 0));
    assert_eq!(without_time(&answer[2]), expired(soon, -2, 4));
    assert_eq!(answer[1]["created_at"], reservation(&service, &late).await["expires_at"]);
    assert_eq!(answer[2]["created_at"], reservation(&service, soon).await["expires_at"]);
}

#[tokio::test]
async fn a_refused_call_adds_no_movement() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let id = held(&service, &[("cup", 4)]).await;
    let before = movements(&service, "cup").await;
    service.reserve("cup", 2, 1000).await.expect_problem(409, "insufficient_stock");
    let refused = confirm_part(&service, &id, &[("cup", 5)], "keep").await;
    refused.expect_problem(422, "confirm_exceeds_reserved");
    let body = json!({ "name": "Mug" });
    service.patch("/inventory/products/cup", body).await.assert(200);
    assert_eq!(movements(&service, "cup").await, before);
}

#[tokio::test]
async fn pages_contain_each_movement_once_while_new_ones_arrive() {
    let service = Service::new();
    service.add_product("cup", 0).await;
    for delta in 1..=23 {
        adjust(&service, "cup", delta).await;
    }
    let mut seen = Vec::new();
    let mut path = "/inventory/products/cup/movements?limit=5".to_owned();
    loop {
        let page = service.get(&path).await.assert(200);
        for movement in page["movements"].as_array().unwrap() {
            if movement["reason"] == "counted" {
                seen.push(number(movement, "on_hand_change"));
            }
        }
        // A delivery arrives between every two pages.
        adjust(&service, "cup", 1000).await;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/inventory/products/cup/movements?limit=5&cursor={cursor}");
    }
    assert_eq!(seen, (1..=23).rev().collect::<Vec<i64>>());
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    assert_rejects_invalid_paging(
        &service,
        "/inventory/products/cup/movements",
        Paging::Numbers,
        &[],
    )
    .await;
    let refused = service.get("/inventory/products/no/movements").await;
    assert_eq!(refused.expect_problem(404, "product_not_found")["product_id"], "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_contains_every_concurrent_movement() {
    let service = Service::new();
    service.add_product("cup", 1000).await;
    race(40, |task| {
        let service = service.clone();
        async move {
            let id = held(&service, &[("cup", 3)]).await;
            match task % 4 {
                0 => drop(confirm(&service, &id).await.assert(200)),
                1 => drop(cancel(&service, &id).await.assert(200)),
                2 => drop(confirm_part(&service, &id, &[("cup", 2)], "release").await.assert(200)),
                _ => drop(adjust(&service, "cup", 5).await),
            }
        }
    })
    .await;
    assert_eq!(figures(&service, "cup").await, [1000, 30, 970, 50]);
    let answer = movements(&service, "cup").await;
    assert_chain(&service, "cup", &answer).await;
    for (reason, count) in
        [("initial", 1), ("reserved", 40), ("sold", 20), ("released", 20), ("counted", 10)]
    {
        let found = answer.iter().filter(|movement| movement["reason"] == reason).count();
        assert_eq!(found, count, "{reason}");
    }
    assert_adds_up(&service).await;
}
