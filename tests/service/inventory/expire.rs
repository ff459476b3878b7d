use lockstep::sweeper;
use redis::Commands;
use serde_json::json;

use crate::support::{Server, Service, operation, race};

/// A product with many expired holds, written directly as the service would write them, because that is
/// faster.
async fn with_ended_holds(count: u64) -> (Server, Service) {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    service.add_product("cup", 20_000).await;
    service.reserve("cup", 1, 1_000_000).await.assert(201);
    let mut connection = service.raw();
    let set = service.key("product_holds", "cup");
    let first: Vec<(Vec<u8>, f64)> = connection.zrange_withscores(&set, 0, -1).unwrap();
    let mut members = redis::cmd("ZADD");
    members.arg(&set);
    for number in 1..count {
        let units = &1_u64.to_le_bytes()[..5];
        members.arg(first[0].1).arg([units, &u128::from(number).to_be_bytes()].concat());
    }
    members.exec(&mut connection).unwrap();
    service.set_product_figure("cup", "reserved", count.cast_signed());
    service.advance_ms(1_000_000);
    (server, service)
}

/// The service asks for this when it has seen a reservation that has ended. Until it runs, another process may have taken
/// the units back, or the product may be lost.
#[tokio::test]
async fn a_product_without_holds_that_have_ended_is_left_alone() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.add_product("mug", 5).await;
    service.reserve("mug", 1, 1_000_000).await.assert(201);
    let before = service.snapshot();
    for id in ["cup", "mug", "nothing"] {
        let keys = ["product", "product_holds", "movements"].map(|kind| service.key(kind, id));
        let replies = service.run_steps("inventory/expire", &[(keys.to_vec(), Vec::new())]);
        let reply: (String, u64) = redis::from_redis_value(replies.unwrap()[1].clone()).unwrap();
        assert_eq!(reply, ("ok".to_owned(), 0), "{id}");
    }
    // A step behind another one that has the record open does not know, and asks to be run again.
    let keys = ["product", "product_holds", "movements"].map(|kind| service.key(kind, "mug"));
    let step = (keys.to_vec(), Vec::new());
    let replies = service.run_steps("inventory/expire", &[step.clone(), step]).unwrap();
    let reply: (String, u64) = redis::from_redis_value(replies[3].clone()).unwrap();
    assert_eq!(reply, ("ok".to_owned(), 1));
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn ten_thousand_expired_reservations_are_all_available_at_once() {
    let (_server, service) = with_ended_holds(10_000).await;
    service.reserve("cup", 20_001, 1000).await.expect_problem(409, "insufficient_stock");
    service.reserve("cup", 20_000, 600_000).await.assert(201);
    assert_eq!(service.stock("cup").await, [20_000, 20_000, 0]);
    let books = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(books["ok"], true, "{books:#}");
    let newest = service.get("/inventory/products/cup/movements?limit=2").await.assert(200);
    assert_eq!(newest["movements"][0]["reason"], "reserved");
    assert_eq!(newest["movements"][1]["reason"], "expired");
    assert_eq!(newest["movements"][1]["reserved"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_reservations_stay_held_while_expired_ones_are_reclaimed() {
    let (_server, service) = with_ended_holds(2300).await;
    service.advance_ms(-1_000_000);
    for _ in 0..20 {
        service.reserve("cup", 77, 9_000_000).await.assert(201);
    }
    service.advance_ms(1_000_000);
    race(60, |number| {
        let service = service.clone();
        async move {
            assert_eq!(service.stock("cup").await[1], 1540);
            if number % 10 == 0 {
                let body = json!({ "product_id": "cup", "delta": 1, "reason": "received" });
                service.post("/inventory/adjust", body).await.assert(200);
            }
            let books = service.get("/inventory/integrity").await.assert(200);
            assert_eq!(books["ok"], true, "{books:#}");
        }
    })
    .await;
    let left: u64 = service.raw().zcard(service.key("product_holds", "cup")).unwrap();
    assert_eq!(left, 20);
}

#[tokio::test]
async fn the_sweeper_reclaims_reservations_that_no_call_touches() {
    let (_server, service) = with_ended_holds(1500).await;
    let shards = service.store.shards();
    let mut cursor = 0;
    loop {
        cursor = sweeper::sweep_page(&service.store, &shards[0], cursor).await.unwrap();
        if cursor == 0 {
            break;
        }
    }
    let set: bool = service.raw().exists(service.key("product_holds", "cup")).unwrap();
    assert!(!set, "no key without an end is left");
    assert_eq!(service.stock("cup").await, [20_000, 0, 20_000]);
}

/// One expired reservation is taken back once: its units leave the set with the next call, and do not count
/// again when another one expires.
#[tokio::test]
async fn a_single_expired_reservation_is_taken_back_once() {
    let service = Service::new();
    service.add_product("cup", 10).await;
    for round in 1..=3 {
        service.reserve("cup", 4, 1000).await.assert(201);
        service.advance_ms(1000);
        let body = json!({ "product_id": "cup", "delta": 1, "reason": "received" });
        service.post("/inventory/adjust", body).await.assert(200);
        let left: u64 = service.raw().zcard(service.key("product_holds", "cup")).unwrap();
        assert_eq!((left, service.stock("cup").await), (0, [10 + round, 0, 10 + round]));
    }
    let books = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(books["ok"], true, "{books:#}");
}

/// The first of two changes in one call takes the units back, and the second finds them taken back.
#[tokio::test]
async fn two_changes_in_one_call_take_an_expired_reservation_back_once() {
    let service = Service::new();
    service.add_product("cup", 10).await;
    service.reserve("cup", 4, 1000).await.assert(201);
    service.advance_ms(1000);
    let received = json!({ "product_id": "cup", "delta": 1, "reason": "received" });
    let adjust = operation("inventory/adjust", received);
    service.atomic(&[adjust.clone(), adjust]).await.assert(200);
    assert_eq!(service.stock("cup").await, [12, 0, 12]);
    let all = service.get("/inventory/products/cup/movements").await.assert(200);
    let reasons: Vec<_> =
        all["movements"].as_array().unwrap().iter().map(|movement| &movement["reason"]).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "expired").count(), 1, "{reasons:?}");
    let books = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(books["ok"], true, "{books:#}");
}
