use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::Commands;
use serde_json::json;

use super::{adjust, assert_adds_up, cancel, confirm, confirm_part, figures, held};
use crate::support::{HOUR, Paging, Service, assert_rejects_invalid_paging, pages, race_each};

#[tokio::test]
async fn the_movements_of_each_product_add_up() {
    let service = Service::new();
    let empty = json!({ "ok": true, "products": [] });
    assert_eq!(service.get("/inventory/integrity").await.assert(200), empty);
    service.add_product("cup", 10).await;
    service.add_product("pot", 3).await;
    adjust(&service, "cup", -2).await;
    adjust(&service, "cup", 7).await;
    let sold = held(&service, &[("cup", 5), ("pot", 1)]).await;
    confirm_part(&service, &sold, &[("cup", 3)], "keep").await.assert(200);
    let cancelled = held(&service, &[("cup", 1)]).await;
    cancel(&service, &cancelled).await.assert(200);
    let answer = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(
        answer,
        json!({
            "ok": true,
            "products": [
                { "product_id": "cup", "on_hand": 12, "reserved": 2, "sold": 3, "ok": true },
                { "product_id": "pot", "on_hand": 3, "reserved": 1, "sold": 0, "ok": true }
            ]
        })
    );
    service.advance_ms(HOUR);
    let before = service.snapshot();
    let answer = service.get("/inventory/integrity").await.assert(200);
    assert_eq!((&answer["ok"], &answer["products"][0]["reserved"]), (&json!(true), &json!(0)));
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn pages_contain_each_product_once() {
    let service = Service::new();
    let mut names = Vec::new();
    for number in 0..13 {
        let name = format!("p{number:02}");
        service.add_product(&name, 1).await;
        names.push(name);
    }
    for limit in [1, 3, 12, 13, 500] {
        let path = format!("/inventory/integrity?limit={limit}");
        let found = pages(&service, &path, "products").await.concat();
        let found: Vec<_> = found.iter().map(|it| it["product_id"].as_str().unwrap()).collect();
        assert_eq!(found, names, "limit {limit}");
    }
}

#[tokio::test]
async fn detects_a_changed_stock() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.add_product("pot", 5).await;
    service.set_product_figure("cup", "on_hand", 6);
    let answer = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(
        (&answer["ok"], &answer["products"][0]["ok"], &answer["products"][1]["ok"]),
        (&json!(false), &json!(false), &json!(true))
    );
}

#[tokio::test]
async fn detects_a_deleted_hold() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    held(&service, &[("cup", 2)]).await;
    let () = service.raw().del(service.key("product_holds", "cup")).unwrap();
    let answer = service.get("/inventory/integrity").await.assert(200);
    assert_eq!((&answer["ok"], &answer["products"][0]["ok"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn rejects_invalid_paging() {
    let service = Service::new();
    assert_rejects_invalid_paging(&service, "/inventory/integrity", Paging::Ids, &[]).await;
}

/// Units move all the time, and the check never finds a difference.
#[tokio::test(flavor = "multi_thread")]
async fn is_exact_while_units_move() {
    let service = Service::new();
    for product in ["cup", "pot"] {
        service.add_product(product, 1_000_000).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = race_each(0..8_u64, |task| {
        let (service, stop) = (service.clone(), stop.clone());
        async move {
            let (mut rounds, mut sold) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                rounds += 1;
                let id = held(&service, &[("cup", 3), ("pot", 2)]).await;
                match (task + rounds) % 4 {
                    0 => {
                        confirm(&service, &id).await.assert(200);
                        sold += 3;
                    }
                    1 => {
                        let part = [("cup", 2)];
                        confirm_part(&service, &id, &part, "release").await.assert(200);
                        sold += 2;
                    }
                    2 => {
                        adjust(&service, "cup", 1).await;
                        adjust(&service, "cup", -1).await;
                        cancel(&service, &id).await.assert(200);
                    }
                    _ => drop(cancel(&service, &id).await.assert(200)),
                }
            }
            (rounds, sold)
        }
    });
    for _ in 0..50 {
        assert_adds_up(&service).await;
    }
    stop.store(true, Ordering::Relaxed);
    let results = tasks.await;
    let rounds: u64 = results.iter().map(|(rounds, _)| rounds).sum();
    let sold: u64 = results.iter().map(|(_, sold)| sold).sum();
    assert!(rounds > 8, "{rounds}");
    let left = 1_000_000 - sold;
    assert_eq!(figures(&service, "cup").await, [left, 0, left, sold]);
    assert_adds_up(&service).await;
}
