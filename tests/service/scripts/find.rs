use crate::support::Service;

/// A run says what it does not find.
#[tokio::test]
async fn a_run_of_what_is_not_there_is_refused() {
    let service = Service::new();
    service.run_script("s", &[], &[]).await.expect_problem(404, "script_not_found");
    service.put_script("s", "return 1").await.assert(201);
    let body = serde_json::json!({ "version": 2 });
    let refused = service.post("/scripts/s/run", body).await;
    assert_eq!(refused.expect_problem(404, "script_version_not_found")["version"], 2);
}
