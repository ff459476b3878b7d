use serde_json::{Value, json};

use crate::{
    audit::Audit,
    support::{Service, race, race_each},
};

/// Opens alice with 100.00, and holds 60.00 of it for hotel.
async fn with_a_hold() -> (Service, String) {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let hold_id = service.held("alice", "hotel", "60").await;
    (service, hold_id)
}

#[tokio::test]
async fn captures_the_whole_hold() {
    let (service, hold_id) = with_a_hold().await;
    let mut body =
        service.post("/accounts/capture", json!({ "hold_id": hold_id })).await.assert(201);
    let transaction_id = body["transaction_id"].take();
    let hold = body["hold"].take();
    body["created_at"].take();
    assert_eq!(
        body,
        json!({
            "transaction_id": null, "from_account": "alice", "to_account": "hotel",
            "amount": "60.00", "currency": "USD", "from_balance": "40.00", "to_balance": "60.00",
            "status": "completed", "created_at": null, "hold": null
        })
    );
    assert_eq!(
        [&hold["status"], &hold["captured"], &hold["released"], &hold["remaining"]],
        ["captured", "60.00", "0.00", "0.00"]
    );
    assert_eq!(service.funds("alice").await, ["40.00", "40.00", "0.00"]);
    let path = format!("/accounts/transactions/{}", transaction_id.as_str().unwrap());
    let transaction = service.get(&path).await.assert(200);
    assert_eq!(
        (&transaction["kind"], &transaction["hold_id"]),
        (&json!("capture"), &json!(hold_id))
    );
    Audit::default().check(&service);
}

#[tokio::test]
async fn captures_a_part_and_releases_the_rest() {
    let (service, hold_id) = with_a_hold().await;
    let body = service.capture(&hold_id, Some("15.5"), true).await.assert(201);
    assert_eq!(
        [&body["hold"]["status"], &body["hold"]["captured"], &body["hold"]["released"]],
        ["captured", "15.50", "44.50"]
    );
    assert_eq!(service.funds("alice").await, ["84.50", "84.50", "0.00"]);
    Audit::default().check(&service);
}

#[tokio::test]
async fn captures_several_parts_up_to_the_held_amount() {
    let (service, hold_id) = with_a_hold().await;
    let body = service.capture(&hold_id, Some("20"), false).await.assert(201);
    assert_eq!(
        [&body["hold"]["status"], &body["hold"]["captured"], &body["hold"]["remaining"]],
        ["open", "20.00", "40.00"]
    );
    assert_eq!(service.funds("alice").await, ["80.00", "40.00", "40.00"]);
    let before = service.snapshot();
    let refused = service.capture(&hold_id, Some("40.01"), false).await;
    let refused = refused.expect_problem(422, "capture_exceeds_hold");
    assert_eq!(
        (&refused["remaining"], &refused["requested"], &refused["currency"]),
        (&json!("40.00"), &json!("40.01"), &json!("USD"))
    );
    service.assert_unchanged(&before);
    // Capturing the last unit ends the hold, final or not.
    let body = service.capture(&hold_id, Some("40"), false).await.assert(201);
    assert_eq!([&body["hold"]["status"], &body["hold"]["captured"]], ["captured", "60.00"]);
    let refused = service.capture(&hold_id, None, true).await.expect_problem(409, "hold_closed");
    assert_eq!(refused["hold_status"], "captured");
    assert_eq!(service.funds("hotel").await, ["60.00", "60.00", "0.00"]);
    Audit::default().check(&service);
}

#[tokio::test]
async fn the_rest_of_a_partly_captured_hold_expires() {
    let (service, hold_id) = with_a_hold().await;
    service.capture(&hold_id, Some("20"), false).await.assert(201);
    service.advance_ms(3_600_000);
    let refused = service.capture(&hold_id, None, true).await.expect_problem(409, "hold_expired");
    assert_eq!(refused["hold_id"], hold_id);
    let hold = service.get(&format!("/accounts/holds/{hold_id}")).await.assert(200);
    assert_eq!(refused["expired_at"], hold["expires_at"]);
    assert_eq!(
        [&hold["status"], &hold["captured"], &hold["released"], &hold["expired"]],
        ["expired", "20.00", "0.00", "40.00"]
    );
    assert_eq!(service.funds("alice").await, ["80.00", "80.00", "0.00"]);
}

#[tokio::test]
async fn refuses_and_leaves_the_hold_open() {
    let (service, hold_id) = with_a_hold().await;
    service.capture("hold_none", None, true).await.expect_problem(404, "hold_not_found");
    let refused = service.capture(&hold_id, Some("0.001"), true).await;
    let refused = refused.expect_problem(422, "amount_scale_exceeded");
    assert_eq!(refused["errors"][0]["pointer"], "/amount");
    service
        .capture(&hold_id, Some("1234567890123456789012345678"), true)
        .await
        .expect_problem(422, "amount_out_of_range");
    service.capture(&hold_id, Some("0"), true).await.expect_problem(422, "amount_not_positive");

    service.freeze("alice", "debits").await;
    let before = service.snapshot();
    let refused = service.capture(&hold_id, None, true).await.expect_problem(409, "account_frozen");
    assert_eq!(
        (&refused["role"], &refused["direction"]),
        (&json!("from_account"), &json!("debits"))
    );
    service.assert_unchanged(&before);
    let body = json!({ "account_id": "alice" });
    service.post("/accounts/unfreeze", body).await.assert(200);

    let body = json!({ "max_balance": "59.99" });
    service.patch("/accounts/hotel", body).await.assert(200);
    let before = service.snapshot();
    let refused = service.capture(&hold_id, None, true).await;
    refused.expect_problem(409, "max_balance_exceeded");
    service.assert_unchanged(&before);
    let body = json!({ "max_balance": null });
    service.patch("/accounts/hotel", body).await.assert(200);

    service.close("hotel").await.assert(200);
    let before = service.snapshot();
    let refused = service.capture(&hold_id, None, true).await.expect_problem(409, "account_closed");
    assert_eq!(refused["role"], "to_account");
    service.assert_unchanged(&before);
    assert_eq!(service.funds("alice").await, ["100.00", "40.00", "60.00"]);
}

#[tokio::test]
async fn balances_stay_within_28_digits() {
    let service = Service::new();
    let most = "99999999999999999999999999.99";
    service.open("alice", most).await;
    service.open("hotel", "0").await;
    let hold_id = service.held("alice", "hotel", "0.01").await;
    let body = json!({ "account_id": "hotel", "amount": most });
    service.post("/accounts/deposit", body).await.assert(201);
    let before = service.snapshot();
    let refused =
        service.capture(&hold_id, None, true).await.expect_problem(422, "amount_out_of_range");
    assert_eq!(refused["errors"][0]["pointer"], "/hold_id");
    service.assert_unchanged(&before);
    Audit::default().check(&service);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_captures_succeeds() {
    let (service, hold_id) = with_a_hold().await;
    let answers =
        Audit::during(&service, race(64, |_| service.capture(&hold_id, None, true))).await;
    assert_eq!(answers.count(201), 1);
    assert_eq!(answers.count(409), 63);
    assert_eq!(answers.count_code("hold_closed"), 63);
    assert_eq!(service.funds("hotel").await, ["60.00", "60.00", "0.00"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_parts_add_up_to_the_held_amount_at_most() {
    let (service, hold_id) = with_a_hold().await;
    let answers =
        Audit::during(&service, race(100, |_| service.capture(&hold_id, Some("1.6"), false))).await;
    // 37 times 1.60 is 59.20, and there is no room for another one.
    assert_eq!(answers.count(201), 37);
    assert_eq!(answers.count(422), 63);
    assert_eq!(answers.count_code("capture_exceeds_hold"), 63);
    assert_eq!(service.funds("alice").await, ["40.80", "40.00", "0.80"]);
}

/// A capture, a release and the expiry race for each of many holds: one of them ends it, and the money
/// is where that one puts it.
#[tokio::test(flavor = "multi_thread")]
async fn each_hold_ends_once_when_capture_release_and_expiry_race() {
    const HOLDS: usize = 150;
    let service = Service::new();
    service.open("alice", "150").await;
    service.open("hotel", "0").await;
    let mut holds = Vec::new();
    for _ in 0..HOLDS {
        let body = service.hold("alice", "hotel", "1", 1_000_000).await.assert(201);
        holds.push(body["hold_id"].as_str().unwrap().to_owned());
    }
    let [mut captured, mut released] = [0, 0];
    let results = Audit::during(&service, async {
        // Two callers for each hold, and the clock moves to the end of all holds halfway.
        race(2 * HOLDS, |caller| {
            let (service, hold_id) = (service.clone(), holds[caller / 2].clone());
            async move {
                if caller == HOLDS {
                    service.advance_ms(1_000_000);
                }
                match caller % 2 == 0 {
                    true => (true, service.capture(&hold_id, None, true).await),
                    false => (false, service.release(&hold_id).await),
                }
            }
        })
        .await
    })
    .await;
    for (capture, answer) in results {
        match (answer.status.as_u16(), answer.body["code"].as_str()) {
            (201, _) if capture => captured += 1,
            (200, _) if !capture => released += 1,
            (409, Some("hold_closed" | "hold_expired")) => {}
            _ => panic!("{:#}", answer.body),
        }
    }
    let mut found = [0, 0, 0];
    for hold_id in &holds {
        let hold = service.get(&format!("/accounts/holds/{hold_id}")).await.assert(200);
        let place = ["captured", "released", "expired"];
        let place = place.iter().position(|word| hold["status"] == *word).unwrap();
        found[place] += 1;
    }
    assert_eq!(found, [captured, released, HOLDS - captured - released]);
    let balance = format!("{}.00", HOLDS - captured);
    assert_eq!(service.funds("alice").await, [&balance, &balance, "0.00"]);
    assert_eq!(service.balance("hotel").await, format!("{captured}.00"));
}

#[tokio::test]
async fn a_repeat_has_the_same_answer_after_the_hold_is_deleted() {
    let (service, hold_id) = with_a_hold().await;
    let body = json!({ "hold_id": hold_id });
    let first = service.post("/accounts/capture", body.clone()).key("k").await;
    let () =
        redis::cmd("DEL").arg(service.key("hold", &hold_id)).query(&mut service.raw()).unwrap();
    let again = service.post("/accounts/capture", body).key("k").await;
    assert!(again.replayed());
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    let refused = service.get(&format!("/accounts/holds/{hold_id}")).await;
    let _: Value = refused.expect_problem(404, "hold_not_found");
}

/// Captures that run in one script share its records in memory: a refused one leaves no trace of itself
/// for the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capture_does_not_affect_others_of_the_same_batch() {
    let service = Service::with(|settings| settings.batch_workers = 1);
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let body = json!({ "account_id": "small", "max_balance": "1" });
    service.post("/accounts", body).await.assert(201);
    let mut holds = Vec::new();
    for number in 0..80 {
        let to = if number % 2 == 0 { "hotel" } else { "small" };
        holds.push((to, service.held("alice", to, "1").await));
    }
    service.transfer("alice", "small", "1").await.assert(201);
    let results = Audit::during(
        &service,
        race_each(holds, |(to, hold_id)| {
            let service = service.clone();
            async move { (to, service.capture(&hold_id, None, true).await.status.as_u16()) }
        }),
    )
    .await;
    assert!(
        results.iter().all(|end| [("hotel", 201), ("small", 409)].contains(end)),
        "{results:?}"
    );
    assert_eq!(service.funds("alice").await, ["59.00", "19.00", "40.00"]);
}
