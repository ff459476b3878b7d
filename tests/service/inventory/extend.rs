use serde_json::{Value, json};

use super::{assert_adds_up, cancel, confirm, extend, figures, held, reservation};
use crate::support::{HOUR, Service, race};

const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60_000;

async fn with_a_reservation() -> (Service, String) {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let id = held(&service, &[("cup", 2)]).await;
    (service, id)
}

/// The milliseconds from the creation of a reservation to its expiry.
fn lasts_ms(reservation: &Value) -> i64 {
    let [from, to] = ["created_at", "expires_at"].map(|name| {
        let instant: jiff::Timestamp = reservation[name].as_str().unwrap().parse().unwrap();
        instant.as_millisecond()
    });
    to - from
}

#[tokio::test]
async fn moves_the_expiry_later() {
    let (service, id) = with_a_reservation().await;
    service.advance_ms(50 * MINUTE);
    let body = extend(&service, &id, HOUR).await.assert(200);
    assert_eq!((&body["status"], &body["extensions"]), (&json!("held"), &json!(1)));
    assert!((110 * MINUTE..111 * MINUTE).contains(&lasts_ms(&body)), "{body:#}");
    let answer = reservation(&service, &id).await;
    assert_eq!(
        (&answer["expires_at"], &answer["extensions"], &answer["lines"][0]["held"]),
        (&body["expires_at"], &json!(1), &json!(2))
    );
    // This is the time at which it would have expired without the extension.
    service.advance_ms(50 * MINUTE);
    assert_eq!(figures(&service, "cup").await, [5, 2, 3, 0]);
    assert_adds_up(&service).await;
    service.advance_ms(10 * MINUTE);
    assert_eq!(figures(&service, "cup").await, [5, 0, 5, 0]);
    confirm(&service, &id).await.expect_problem(409, "reservation_expired");
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn an_extended_reservation_can_be_confirmed() {
    let (service, id) = with_a_reservation().await;
    extend(&service, &id, 5 * HOUR).await.assert(200);
    service.advance_ms(4 * HOUR);
    confirm(&service, &id).await.assert(200);
    assert_eq!(figures(&service, "cup").await, [3, 0, 3, 2]);
    service.advance_ms(HOUR);
    assert_eq!(figures(&service, "cup").await, [3, 0, 3, 2]);
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn never_moves_the_expiry_earlier() {
    let (service, id) = with_a_reservation().await;
    let before = reservation(&service, &id).await;
    let body = extend(&service, &id, 1).await.assert(200);
    assert_eq!(
        (&body["expires_at"], &body["extensions"]),
        (&before["expires_at"], &json!(1)),
        "it has been asked for, and counts"
    );
}

#[tokio::test]
async fn allows_ten_extensions() {
    let (service, id) = with_a_reservation().await;
    for time in 1..=10 {
        let body = extend(&service, &id, HOUR + time).await.assert(200);
        assert_eq!(body["extensions"], time);
    }
    let before = service.snapshot();
    let refused = extend(&service, &id, 2 * HOUR).await.expect_problem(409, "extension_limit");
    assert_eq!(
        (&refused["extensions"], &refused["max_extensions"], &refused["max_total_ms"]),
        (&json!(10), &json!(10), &json!(DAY))
    );
    service.assert_unchanged(&before);
    confirm(&service, &id).await.assert(200);
}

#[tokio::test]
async fn allows_a_day_in_total() {
    let (service, id) = with_a_reservation().await;
    let before = service.snapshot();
    let refused = extend(&service, &id, DAY + MINUTE).await.expect_problem(409, "extension_limit");
    assert_eq!(
        (&refused["extensions"], &refused["max_extensions"], &refused["max_total_ms"]),
        (&json!(0), &json!(10), &json!(DAY))
    );
    service.assert_unchanged(&before);
    extend(&service, &id, DAY - MINUTE).await.assert(200);
    // The day is counted from the creation, not from the last extension.
    service.advance_ms(2 * HOUR);
    let refused = extend(&service, &id, DAY - HOUR).await.expect_problem(409, "extension_limit");
    assert_eq!(refused["extensions"], 1);
    extend(&service, &id, DAY - 3 * HOUR).await.assert(200);
}

#[tokio::test]
async fn refuses_an_ended_reservation() {
    let (service, cancelled) = with_a_reservation().await;
    cancel(&service, &cancelled).await.assert(200);
    let confirmed = held(&service, &[("cup", 1)]).await;
    confirm(&service, &confirmed).await.assert(200);
    let expired = held(&service, &[("cup", 1)]).await;
    service.advance_ms(HOUR);
    let before = service.snapshot();
    for (id, status) in [(&cancelled, "cancelled"), (&confirmed, "confirmed")] {
        let refused = extend(&service, id, 1000).await.expect_problem(409, "reservation_closed");
        assert_eq!(refused["reservation_status"], status);
    }
    let refused = extend(&service, &expired, 1000).await.expect_problem(409, "reservation_expired");
    assert_eq!(refused["expired_at"], reservation(&service, &expired).await["expires_at"]);
    extend(&service, "res_none", 1000).await.expect_problem(404, "reservation_not_found");
    let refused = extend(&service, &expired, 0).await.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/ttl_ms");
    let body = json!({ "reservation_id": expired });
    let refused =
        service.post("/inventory/extend", body).await.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/ttl_ms");
    service.assert_unchanged(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_of_many_concurrent_extensions_succeed() {
    let (service, id) = with_a_reservation().await;
    let answers = race(60, |number| extend(&service, &id, 2 * HOUR + number as i64)).await;
    assert_eq!(answers.count(200), 10);
    assert_eq!(answers.count_code("extension_limit"), 50);
    assert_eq!(reservation(&service, &id).await["extensions"], 10);
    assert_eq!(figures(&service, "cup").await, [5, 2, 3, 0]);
    assert_adds_up(&service).await;
}
