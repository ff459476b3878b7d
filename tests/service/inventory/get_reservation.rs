use redis::Commands;

use crate::support::Service;

#[tokio::test]
async fn returns_the_lines_and_the_end() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let reserved = service.reserve("cup", 2, 86_400_000).await.assert(201);
    let id = reserved["reservation_id"].as_str().unwrap();
    let path = format!("/inventory/reservations/{id}");
    let mut expected = reserved.clone();
    expected["lines"][0].as_object_mut().unwrap().remove("remaining");
    assert_eq!(service.get(&path).await.assert(200), expected);
    service.advance_ms(86_400_000);
    let mut expired = expected.clone();
    expired["status"] = "expired".into();
    (expired["lines"][0]["held"], expired["lines"][0]["released"]) = (0.into(), 2.into());
    assert_eq!(service.get(&path).await.assert(200), expired);
}

#[tokio::test]
async fn an_ended_reservation_is_kept_for_a_week() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let reserved = service.reserve("cup", 2, 60_000).await.assert(201);
    let id = reserved["reservation_id"].as_str().unwrap();
    let ttl: i64 = service.raw().pttl(service.key("reservation", id)).unwrap();
    let week = 7 * 86_400_000;
    assert!((week..=week + 60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn refuses_an_unknown_reservation() {
    let answer = Service::new().get("/inventory/reservations/res_1").await;
    assert_eq!(answer.expect_problem(404, "reservation_not_found")["reservation_id"], "res_1");
}
