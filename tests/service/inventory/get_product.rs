use crate::support::Service;

#[tokio::test]
async fn returns_the_stock() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.reserve("cup", 2, 1000).await.assert(201);
    assert_eq!(service.stock("cup").await, [5, 2, 3]);
    let answer = service.get("/inventory/products/cup").await;
    assert_eq!(answer.header("etag"), Some("\"2-2\""));
}

#[tokio::test]
async fn expired_units_are_available_to_the_millisecond() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    // A whole day, so that the duration of the test does not matter.
    service.reserve("cup", 2, 86_400_000).await.assert(201);
    service.advance_ms(86_400_000 - 60_000);
    assert_eq!(service.stock("cup").await, [5, 2, 3]);
    let before = service.snapshot();
    service.advance_ms(60_000);
    assert_eq!(service.stock("cup").await, [5, 0, 5]);
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_an_unknown_product() {
    let refused =
        Service::new().get("/inventory/products/no").await.expect_problem(404, "product_not_found");
    assert_eq!(refused["detail"], "There is no product no.");
}
