//! Figures that grow without end have the same limit when they are written as when they are read: the call that would
//! take one too far is refused, and the record stays readable.

use serde_json::json;

use crate::support::Service;

const MOST: u64 = 999_999_999_999_999;
const MILLION_MILLIONS: u64 = 1_000_000_000_000;

/// Sells what the product has on hand.
async fn sell(service: &Service, units: u64) -> String {
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
        let reservation = sell(&service, units).await;
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
    let reservation = sell(&service, MILLION_MILLIONS).await;
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

#[tokio::test]
async fn an_adjustment_that_would_take_a_sum_of_its_reason_too_far_is_refused() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    for reason in ["received", "returned", "damaged", "lost", "counted", "other"] {
        for sign in [1_i64, -1] {
            service.set_product_figure("cup", reason, sign * (MOST as i64 - 1));
            let adjust = |delta: i64| {
                let body = json!({ "product_id": "cup", "delta": sign * delta, "reason": reason });
                service.post("/inventory/adjust", body)
            };
            adjust(1).await.assert(200);
            let before = service.snapshot();
            let refused = adjust(1).await.expect_problem(422, "total_out_of_range");
            assert_eq!(
                (&refused["figure"], &refused["total"]),
                (&json!(reason), &json!(sign * MOST as i64))
            );
            service.assert_unchanged(&before);
            adjust(-1).await.assert(200);
        }
        service.set_product_figure("cup", reason, 0);
    }
    assert_eq!(service.stock("cup").await, [5, 0, 5]);
}

/// The widest figures of an account: a balance of 28 digits, and what is available has 29 with the overdraft limit.
#[tokio::test]
async fn an_account_at_its_limits_can_be_read() {
    let service = Service::new();
    let widest = format!("{}.99", "9".repeat(26));
    let body =
        json!({ "account_id": "alice", "initial_balance": widest, "overdraft_limit": widest });
    service.post("/accounts", body).await.assert(201);
    service.open("bob", "0").await;
    service.deposit("alice", "0.01").await.expect_problem(422, "amount_out_of_range");
    service.deposit("bob", "1").await.assert(201);
    service.hold("alice", "bob", &widest, 600_000).await.expect_problem(422, "amount_out_of_range");
    service.transfer("bob", "alice", "1").await.expect_problem(422, "amount_out_of_range");
    let account = service.get("/accounts/alice").await.assert(200);
    assert_eq!(account["balance"], widest);
    assert_eq!(account["available"], format!("1{}.98", "9".repeat(26)));
    service.get("/accounts/alice/balance").await.assert(200);
    service.get("/accounts").await.assert(200);
    let integrity = service.get("/accounts/integrity").await.assert(200);
    assert_eq!(integrity["currencies"][0]["ok"], true, "{integrity:#}");
}
