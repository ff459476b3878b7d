use crate::support::Service;

#[tokio::test]
async fn returns_the_held_amount_and_how_the_hold_ended() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let placed = service.hold("alice", "hotel", "60", 3_600_000).await.assert(201);
    let path = format!("/accounts/holds/{}", placed["hold_id"].as_str().unwrap());
    let answer = service.get(&path).await.assert(200);
    for field in ["hold_id", "status", "amount", "remaining", "expires_at", "created_at"] {
        assert_eq!(answer[field], placed[field]);
    }
    assert!(answer.get("available").is_none());
    // Six days after its expiry the hold can still be read; the test's clock moves only the scripts,
    // not Redis.
    service.advance_ms(3_600_000 + 6 * 24 * 3_600_000);
    let answer = service.get(&path).await.assert(200);
    assert_eq!(
        [&answer["status"], &answer["expired"], &answer["remaining"]],
        ["expired", "60.00", "0.00"]
    );
}

#[tokio::test]
async fn refuses_an_unknown_hold() {
    let service = Service::new();
    let refused =
        service.get("/accounts/holds/hold_none").await.expect_problem(404, "hold_not_found");
    assert_eq!(refused["detail"], "There is no hold hold_none.");
    service.get("/accounts/holds/%7B%7D").await.expect_problem(422, "invalid_id");
}
