use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use redis::Commands;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    add_limited, adjust, as_read, assert_adds_up, cancel, confirm, confirm_part, figures, held,
    lines, reservation,
};
use crate::support::{HOUR, Service, race};

async fn with_cups_and_pots() -> Service {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.add_product("pot", 3).await;
    service
}

#[tokio::test]
async fn sells_the_whole_reservation() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 2), ("pot", 3)]).await;
    let before = reservation(&service, &id).await;
    let body = confirm(&service, &id).await.assert(200);
    assert_eq!(
        (&body["reservation_id"], &body["customer_id"], &body["status"], &body["extensions"]),
        (&json!(id), &json!("carol"), &json!("confirmed"), &json!(0))
    );
    assert_eq!(
        body["lines"],
        json!([
            {
                "product_id": "cup", "quantity": 2, "confirmed": 2, "released": 0, "held": 0,
                "remaining": 3
            },
            {
                "product_id": "pot", "quantity": 3, "confirmed": 3, "released": 0, "held": 0,
                "remaining": 0
            }
        ])
    );
    assert_eq!(
        (&body["created_at"], &body["expires_at"]),
        (&before["created_at"], &before["expires_at"])
    );
    assert_eq!(figures(&service, "cup").await, [3, 0, 3, 2]);
    assert_eq!(figures(&service, "pot").await, [0, 0, 0, 3]);
    assert_eq!(reservation(&service, &id).await, as_read(body));
    // A confirmed reservation does not expire.
    service.advance_ms(HOUR);
    assert_eq!(figures(&service, "cup").await, [3, 0, 3, 2]);
    assert_eq!(reservation(&service, &id).await["status"], "confirmed");
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn sells_a_part_and_releases_the_rest() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 4), ("pot", 2)]).await;
    let body = json!({ "reservation_id": id, "lines": lines(&[("cup", 3)]) });
    let body = service.post("/inventory/confirm", body).await.assert(200);
    assert_eq!(body["status"], "confirmed");
    assert_eq!(
        body["lines"],
        json!([
            {
                "product_id": "cup", "quantity": 4, "confirmed": 3, "released": 1, "held": 0,
                "remaining": 2
            },
            {
                "product_id": "pot", "quantity": 2, "confirmed": 0, "released": 2, "held": 0,
                "remaining": 3
            }
        ])
    );
    assert_eq!(figures(&service, "cup").await, [2, 0, 2, 3]);
    assert_eq!(figures(&service, "pot").await, [3, 0, 3, 0]);
    confirm(&service, &id).await.expect_problem(409, "reservation_closed");
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn sells_several_parts_and_keeps_the_rest() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 4), ("pot", 2)]).await;
    let body = confirm_part(&service, &id, &[("cup", 3)], "keep").await.assert(200);
    assert_eq!(body["status"], "held");
    assert_eq!(
        as_read(body)["lines"],
        json!([
            { "product_id": "cup", "quantity": 4, "confirmed": 3, "released": 0, "held": 1 },
            { "product_id": "pot", "quantity": 2, "confirmed": 0, "released": 0, "held": 2 }
        ])
    );
    assert_eq!(figures(&service, "cup").await, [2, 1, 1, 3]);
    assert_eq!(figures(&service, "pot").await, [3, 2, 1, 0]);
    // Confirming the last unit ends the reservation, whatever `remainder` says.
    let body = confirm_part(&service, &id, &[("cup", 1), ("pot", 2)], "keep").await.assert(200);
    assert_eq!(body["status"], "confirmed");
    assert_eq!(figures(&service, "cup").await, [1, 0, 1, 4]);
    assert_eq!(figures(&service, "pot").await, [1, 0, 1, 2]);
    let refused = confirm(&service, &id).await.expect_problem(409, "reservation_closed");
    assert_eq!(refused["reservation_status"], "confirmed");
    assert_adds_up(&service).await;
}

/// A product of which nothing is sold or released keeps its version, also beside one that has changed.
#[tokio::test]
async fn a_line_that_keeps_its_units_leaves_its_product_alone() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 2), ("pot", 2)]).await;
    let pot = service.get("/inventory/products/pot").await.assert(200);
    confirm_part(&service, &id, &[("cup", 1)], "keep").await.assert(200);
    assert_eq!(service.get("/inventory/products/pot").await.assert(200), pot);
}

#[tokio::test]
async fn without_lines_it_sells_the_rest() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 4), ("pot", 2)]).await;
    confirm_part(&service, &id, &[("cup", 1), ("pot", 2)], "keep").await.assert(200);
    let body = confirm(&service, &id).await.assert(200);
    assert_eq!(body["status"], "confirmed");
    assert_eq!(figures(&service, "cup").await, [1, 0, 1, 4]);
    assert_eq!(figures(&service, "pot").await, [1, 0, 1, 2]);
}

#[tokio::test]
async fn the_rest_of_a_partly_sold_reservation_expires() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 4)]).await;
    confirm_part(&service, &id, &[("cup", 3)], "keep").await.assert(200);
    service.advance_ms(HOUR);
    assert_eq!(figures(&service, "cup").await, [2, 0, 2, 3]);
    let answer = reservation(&service, &id).await;
    assert_eq!(answer["status"], "expired");
    assert_eq!(
        answer["lines"],
        json!([{ "product_id": "cup", "quantity": 4, "confirmed": 3, "released": 1, "held": 0 }])
    );
    let before = service.snapshot();
    let refused = confirm(&service, &id).await.expect_problem(409, "reservation_expired");
    assert_eq!(
        (&refused["reservation_id"], &refused["expired_at"]),
        (&json!(id), &answer["expires_at"])
    );
    service.assert_unchanged(&before);
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn released_units_cannot_be_sold() {
    let service = with_cups_and_pots().await;
    let late = held(&service, &[("cup", 2)]).await;
    service.advance_ms(HOUR);
    let other = held(&service, &[("cup", 4)]).await;
    let before = service.snapshot();
    confirm(&service, &late).await.expect_problem(409, "reservation_expired");
    let part = confirm_part(&service, &late, &[("cup", 1)], "keep").await;
    part.expect_problem(409, "reservation_expired");
    service.assert_unchanged(&before);
    confirm(&service, &other).await.assert(200);
    assert_eq!(figures(&service, "cup").await, [1, 0, 1, 4]);
}

#[tokio::test]
async fn refuses_an_ended_or_unknown_reservation() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 2)]).await;
    cancel(&service, &id).await.assert(200);
    let before = service.snapshot();
    let refused = confirm(&service, &id).await.expect_problem(409, "reservation_closed");
    assert_eq!(
        (&refused["reservation_id"], &refused["reservation_status"]),
        (&json!(id), &json!("cancelled"))
    );
    let refused = confirm(&service, "res_none").await.expect_problem(404, "reservation_not_found");
    assert_eq!(refused["reservation_id"], "res_none");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_more_than_the_reserved_units() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 4)]).await;
    let before = service.snapshot();
    for (order, product, held, requested) in [
        (vec![("cup", 5)], "cup", 4, 5),
        // Two lines of one product count together.
        (vec![("cup", 2), ("cup", 3)], "cup", 4, 5),
        (vec![("cup", 1), ("pot", 1)], "pot", 0, 1),
        (vec![("no", 1)], "no", 0, 1),
    ] {
        for remainder in ["keep", "release"] {
            let refused = confirm_part(&service, &id, &order, remainder).await;
            let refused = refused.expect_problem(422, "confirm_exceeds_reserved");
            assert_eq!(
                (&refused["product_id"], &refused["held"], &refused["requested"]),
                (&json!(product), &json!(held), &json!(requested))
            );
        }
    }
    service.assert_unchanged(&before);
    let body = confirm_part(&service, &id, &[("cup", 1), ("cup", 2)], "keep").await.assert(200);
    assert_eq!((&body["lines"][0]["confirmed"], &body["lines"][0]["held"]), (&json!(3), &json!(1)));
    let refused = confirm_part(&service, &id, &[("cup", 2)], "keep").await;
    assert_eq!(refused.expect_problem(422, "confirm_exceeds_reserved")["held"], 1);
}

#[tokio::test]
async fn refuses_bad_input() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 4)]).await;
    let before = service.snapshot();
    for (change, code) in [
        (json!({ "lines": lines(&[("cup", 0)]) }), "quantity_not_positive"),
        (json!({ "lines": [{ "product_id": "cup", "quantity": 1.5 }] }), "validation_failed"),
        (json!({ "lines": lines(&[("c}p", 1)]) }), "invalid_id"),
        (json!({ "lines": lines(&[("cup", 1)]), "remainder": "sell" }), "validation_failed"),
        (json!({ "quantity": 1 }), "unknown_field"),
        (json!({ "reservation_id": "{res}" }), "invalid_id"),
    ] {
        let mut body = json!({ "reservation_id": id });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        service.post("/inventory/confirm", body).await.expect_problem(422, code);
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn reports_the_end_of_low_stock() {
    let service = Service::new();
    add_limited(&service, "cup", 10, Some(5), None).await;
    let id = held(&service, &[("cup", 6)]).await;
    let body = confirm_part(&service, &id, &[("cup", 1)], "keep").await.assert(200);
    assert_eq!(body["lines"][0].get("low_stock"), None, "four are available, as before");
    let body = confirm_part(&service, &id, &[("cup", 1)], "release").await.assert(200);
    assert_eq!(
        (&body["lines"][0]["remaining"], &body["lines"][0]["low_stock"]),
        (&json!(8), &json!(false))
    );
    // Selling reserved units does not change the available ones.
    let id = held(&service, &[("cup", 5)]).await;
    let body = confirm(&service, &id).await.assert(200);
    assert_eq!(body["lines"][0].get("low_stock"), None);
}

#[tokio::test]
async fn a_confirmed_reservation_is_kept_for_a_week() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 2)]).await;
    confirm(&service, &id).await.assert(200);
    let ttl: i64 = service.raw().pttl(service.key("reservation", &id)).unwrap();
    let week = 7 * 24 * HOUR;
    assert!((week - 60_000..=week + HOUR).contains(&ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_confirmations_succeeds() {
    let service = with_cups_and_pots().await;
    let id = held(&service, &[("cup", 2), ("pot", 1)]).await;
    let answers = race(100, |_| confirm(&service, &id)).await;
    assert_eq!(answers.count(200), 1);
    assert_eq!(answers.count_code("reservation_closed"), 99);
    let refused = answers.iter().filter(|answer| answer.status.as_u16() == 409);
    assert!(refused.map(|it| &it.body["reservation_status"]).all(|status| status == "confirmed"));
    assert_eq!(figures(&service, "cup").await, [3, 0, 3, 2]);
    assert_eq!(figures(&service, "pot").await, [2, 0, 2, 1]);
    assert_adds_up(&service).await;
}

/// Many callers confirm parts of one reservation: as many succeed as there are units.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_parts_add_up_to_the_reserved_units_at_most() {
    let service = Service::new();
    service.add_product("cup", 100).await;
    let id = held(&service, &[("cup", 50)]).await;
    let answers = race(100, |_| confirm_part(&service, &id, &[("cup", 3)], "keep")).await;
    assert_eq!(answers.count(200), 16);
    assert_eq!(answers.count(422), 84);
    assert_eq!(answers.count_code("confirm_exceeds_reserved"), 84);
    assert_eq!(figures(&service, "cup").await, [52, 2, 50, 48]);
    assert_adds_up(&service).await;
}

/// A confirmation, a cancellation and the expiry race for two thousand reservations: one of them ends
/// each.
#[tokio::test(flavor = "multi_thread")]
async fn each_reservation_ends_once_when_confirm_cancel_and_expiry_race() {
    const ROUNDS: usize = 2000;
    let service = Service::new();
    service.add_product("cup", 5000).await;
    service.add_product("pot", 5000).await;
    let cups = |round: usize| 1 + round as u64 % 3;
    let mut ids = Vec::new();
    for round in 0..ROUNDS {
        ids.push(held(&service, &[("cup", cups(round)), ("pot", 1)]).await);
    }
    assert_eq!(figures(&service, "cup").await, [5000, 3999, 1001, 0]);
    // At most 16 calls run at a time, so that there are calls before and after the clock moves.
    let (permits, started) = (Arc::new(Semaphore::new(16)), Arc::new(AtomicUsize::new(0)));
    let tasks = race(2 * ROUNDS, |caller| {
        let round = caller / 2;
        let confirms = (round + caller) % 2 == 0;
        let (service, id) = (service.clone(), ids[round].clone());
        let (permits, started) = (permits.clone(), started.clone());
        async move {
            let _permit = permits.acquire().await.unwrap();
            if started.fetch_add(1, Ordering::Relaxed) == ROUNDS {
                service.advance_ms(HOUR);
            }
            let answer = match confirms {
                true => confirm(&service, &id).await,
                false => cancel(&service, &id).await,
            };
            (round, confirms, answer)
        }
    });
    let mut ends: Vec<Option<&str>> = vec![None; ROUNDS];
    for (round, confirms, answer) in tasks.await {
        if answer.status.as_u16() == 200 {
            let end = if confirms { "confirmed" } else { "cancelled" };
            assert_eq!(ends[round].replace(end), None, "round {round} has ended twice");
        } else {
            let code = answer.body["code"].as_str();
            let lost = matches!(code, Some("reservation_closed" | "reservation_expired"));
            assert!(lost, "{:#}", answer.body);
        }
    }
    let (mut sold_cups, mut sold_pots) = (0, 0);
    for (round, id) in ids.iter().enumerate() {
        let end = ends[round].unwrap_or("expired");
        let found = reservation(&service, id).await;
        assert_eq!(found["status"], end, "round {round}");
        let sold = if end == "confirmed" { cups(round) } else { 0 };
        let cup = &found["lines"][0];
        assert_eq!(
            (&cup["confirmed"], &cup["released"], &cup["held"]),
            (&json!(sold), &json!(cups(round) - sold), &json!(0)),
            "round {round}"
        );
        sold_cups += sold;
        sold_pots += u64::from(end == "confirmed");
    }
    for end in [Some("confirmed"), Some("cancelled"), None] {
        assert!(ends.contains(&end), "no {end:?} in {ends:?}");
    }
    let left = [5000 - sold_cups, 0, 5000 - sold_cups, sold_cups];
    assert_eq!(figures(&service, "cup").await, left);
    let left = [5000 - sold_pots, 0, 5000 - sold_pots, sold_pots];
    assert_eq!(figures(&service, "pot").await, left);
    assert_adds_up(&service).await;
    // The same holds after a call that has reclaimed the expired units.
    adjust(&service, "cup", 1).await;
    let left = [5001 - sold_cups, 0, 5001 - sold_cups, sold_cups];
    assert_eq!(figures(&service, "cup").await, left);
    assert_adds_up(&service).await;
}

/// The most units that a product ever sells, and that it has on hand.
const MOST: u64 = 999_999_999_999_999;
const MILLION_MILLIONS: u64 = 1_000_000_000_000;

/// Reserves units and returns the id of the reservation.
async fn reserved(service: &Service, units: u64) -> String {
    let held = service.reserve("cup", units, 600_000).await.assert(201);
    held["reservation_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_sale_that_would_take_the_sum_of_all_sales_too_far_is_refused() {
    let service = Service::new();
    service.add_product("cup", 1).await;
    // A thousand sales of 10^12 units each, one unit at a time in between: 10^15 - 1 is reached exactly.
    for sale in 0..1000 {
        let units = if sale == 0 { 1 } else { MILLION_MILLIONS };
        let reservation = reserved(&service, units).await;
        let body = json!({ "reservation_id": reservation });
        service.post("/inventory/confirm", body).await.assert(200);
        if sale < 999 {
            let body = json!({ "product_id": "cup", "delta": MILLION_MILLIONS, "reason": if sale % 2 == 0 { "received" } else { "other" } });
            service.post("/inventory/adjust", body).await.assert(200);
        }
    }
    let product = service.get("/inventory/products/cup").await.assert(200);
    assert_eq!(product["sold"], 999 * MILLION_MILLIONS + 1);
    let body = json!({ "product_id": "cup", "delta": MILLION_MILLIONS, "reason": "counted" });
    service.post("/inventory/adjust", body).await.assert(200);
    let reservation = reserved(&service, MILLION_MILLIONS).await;
    let before = service.snapshot();
    let body = json!({ "reservation_id": reservation });
    let refused = service.post("/inventory/confirm", body).await;
    let refused = refused.expect_problem(422, "total_out_of_range");
    assert_eq!(
        [
            &refused["product_id"],
            &refused["figure"],
            &refused["total"],
            &refused["delta"],
            &refused["max_total"]
        ],
        [
            &json!("cup"),
            &json!("sold"),
            &json!(999 * MILLION_MILLIONS + 1),
            &json!(MILLION_MILLIONS),
            &json!(MOST)
        ]
    );
    service.assert_unchanged(&before);

    // As many as there is room for are sold, and everything can be read.
    let room = MILLION_MILLIONS - 2;
    let body = json!({
        "reservation_id": reservation, "remainder": "keep", "lines": [{ "product_id": "cup", "quantity": room + 1 }]
    });
    service.post("/inventory/confirm", body).await.expect_problem(422, "total_out_of_range");
    let body = json!({
        "reservation_id": reservation, "lines": [{ "product_id": "cup", "quantity": room }]
    });
    service.post("/inventory/confirm", body).await.assert(200);
    let product = service.get("/inventory/products/cup").await.assert(200);
    assert_eq!((&product["sold"], &product["on_hand"]), (&json!(MOST), &json!(2)));
    let integrity = service.get("/inventory/integrity").await.assert(200);
    assert_eq!(integrity["ok"], true, "{integrity:#}");
}
