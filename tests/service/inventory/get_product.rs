use crate::support::Service;

#[tokio::test]
async fn tells_the_stock() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    service.reserve("cup", 2, 1000).await.assert(201);
    assert_eq!(service.stock("cup").await, [5, 2, 3]);
    let answer = service.get("/inventory/products/cup").await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn counts_units_as_free_from_the_millisecond_they_are() {
    let service = Service::new();
    service.add_product("cup", 5).await;
    // A whole day, so that no real time that passes meanwhile can decide.
    service.reserve("cup", 2, 86_400_000).await.assert(201);
    service.advance_ms(86_400_000 - 60_000);
    assert_eq!(service.stock("cup").await, [5, 2, 3]);
    let before = service.snapshot();
    service.advance_ms(60_000);
    assert_eq!(service.stock("cup").await, [5, 0, 5]);
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn refuses_one_that_is_not_there() {
    let refused =
        Service::new().get("/inventory/products/no").await.expect_problem(404, "product_not_found");
    assert_eq!(refused["detail"], "There is no product no.");
}
