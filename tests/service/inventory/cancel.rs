use serde_json::json;

use super::{
    add_limited, as_read, assert_adds_up, cancel, confirm, confirm_part, figures, held, reservation,
};
use crate::support::{HOUR, Service, race};

#[tokio::test]
async fn gives_the_units_back() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.add_product("pot", 3).await;
    let id = held(&service, &[("cup", 2), ("pot", 3)]).await;
    let body = cancel(&service, &id).await.assert(200);
    assert_eq!((&body["reservation_id"], &body["status"]), (&json!(id), &json!("cancelled")));
    assert_eq!(
        body["lines"],
        json!([
            {
                "product_id": "cup", "quantity": 2, "confirmed": 0, "released": 2, "held": 0,
                "remaining": 5
            },
            {
                "product_id": "pot", "quantity": 3, "confirmed": 0, "released": 3, "held": 0,
                "remaining": 3
            }
        ])
    );
    assert_eq!(figures(&service, "cup").await, [5, 0, 5, 0]);
    assert_eq!(figures(&service, "pot").await, [3, 0, 3, 0]);
    assert_eq!(reservation(&service, &id).await, as_read(body));
    let set: u64 = redis::cmd("EXISTS")
        .arg(service.key("product_holds", "cup"))
        .query(&mut service.raw())
        .unwrap();
    assert_eq!(set, 0, "nothing is left of the set");
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn confirmed_units_stay_sold() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let id = held(&service, &[("cup", 4)]).await;
    confirm_part(&service, &id, &[("cup", 3)], "keep").await.assert(200);
    let body = cancel(&service, &id).await.assert(200);
    assert_eq!(body["status"], "cancelled");
    assert_eq!(
        as_read(body)["lines"],
        json!([{ "product_id": "cup", "quantity": 4, "confirmed": 3, "released": 1, "held": 0 }])
    );
    assert_eq!(figures(&service, "cup").await, [2, 0, 2, 3]);
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn the_expiry_of_a_cancelled_reservation_does_not_affect_others() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let first = service.reserve("cup", 2, 1_000_000).await.assert(201);
    held(&service, &[("cup", 1)]).await;
    cancel(&service, first["reservation_id"].as_str().unwrap()).await.assert(200);
    service.advance_ms(1_000_000);
    assert_eq!(figures(&service, "cup").await, [5, 1, 4, 0]);
    held(&service, &[("cup", 4)]).await;
    assert_eq!(figures(&service, "cup").await, [5, 5, 0, 0]);
    assert_adds_up(&service).await;
}

#[tokio::test]
async fn refuses_an_ended_reservation() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    let cancelled = held(&service, &[("cup", 1)]).await;
    cancel(&service, &cancelled).await.assert(200);
    let confirmed = held(&service, &[("cup", 1)]).await;
    confirm(&service, &confirmed).await.assert(200);
    let expired = held(&service, &[("cup", 1)]).await;
    service.advance_ms(HOUR);
    let before = service.snapshot();
    for (id, status) in [(&cancelled, "cancelled"), (&confirmed, "confirmed")] {
        let refused = cancel(&service, id).await.expect_problem(409, "reservation_closed");
        assert_eq!(
            (&refused["reservation_id"], &refused["reservation_status"]),
            (&json!(id), &json!(status))
        );
    }
    let refused = cancel(&service, &expired).await.expect_problem(409, "reservation_expired");
    assert_eq!(refused["expired_at"], reservation(&service, &expired).await["expires_at"]);
    cancel(&service, "res_none").await.expect_problem(404, "reservation_not_found");
    service.assert_unchanged(&before);
    assert_eq!(figures(&service, "cup").await, [4, 0, 4, 1]);
}

#[tokio::test]
async fn refuses_bad_input() {
    let service = Service::new();
    let refused = cancel(&service, "{res}").await.expect_problem(422, "invalid_id");
    assert_eq!(refused["errors"][0]["pointer"], "/reservation_id");
    let body = json!({ "reservation_id": "res_1", "quantity": 1 });
    service.post("/inventory/cancel", body).await.expect_problem(422, "unknown_field");
}

#[tokio::test]
async fn reports_the_end_of_low_stock() {
    let service = Service::new();
    add_limited(&service, "cup", 10, Some(5), None).await;
    let few = held(&service, &[("cup", 3)]).await;
    let many = held(&service, &[("cup", 4)]).await;
    let line = cancel(&service, &many).await.assert(200)["lines"][0].clone();
    assert_eq!((&line["remaining"], &line["low_stock"]), (&json!(7), &json!(false)));
    let line = cancel(&service, &few).await.assert(200)["lines"][0].clone();
    assert_eq!((&line["remaining"], line.get("low_stock")), (&json!(10), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_cancellations_succeeds() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    held(&service, &[("cup", 1)]).await;
    let id = held(&service, &[("cup", 2)]).await;
    let answers = race(100, |_| cancel(&service, &id)).await;
    assert_eq!(answers.count(200), 1);
    assert_eq!(answers.count_code("reservation_closed"), 99);
    assert_eq!(figures(&service, "cup").await, [5, 1, 4, 0]);
    assert_adds_up(&service).await;
}
