use crate::support::Service;

#[tokio::test]
async fn tells_what_it_holds_and_how_it_ended() {
    let service = Service::new();
    service.open("alice", "100").await;
    service.open("hotel", "0").await;
    let placed = service.hold("alice", "hotel", "60", 3_600_000).await.assert(201);
    let path = format!("/accounts/holds/{}", placed["hold_id"].as_str().unwrap());
    let told = service.get(&path).await.assert(200);
    for field in ["hold_id", "status", "amount", "remaining", "expires_at", "created_at"] {
        assert_eq!(told[field], placed[field]);
    }
    assert!(told.get("available").is_none());
    // Six days after its end it is still told; the clock of the test moves only the scripts.
    service.advance_ms(3_600_000 + 6 * 24 * 3_600_000);
    let told = service.get(&path).await.assert(200);
    assert_eq!(
        [&told["status"], &told["expired"], &told["remaining"]],
        ["expired", "60.00", "0.00"]
    );
}

#[tokio::test]
async fn refuses_one_that_is_not_there() {
    let service = Service::new();
    let refused =
        service.get("/accounts/holds/hold_none").await.expect_problem(404, "hold_not_found");
    assert_eq!(refused["detail"], "There is no hold hold_none.");
    service.get("/accounts/holds/%7B%7D").await.expect_problem(422, "invalid_id");
}
