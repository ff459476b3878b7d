use serde_json::json;

use crate::support::{Service, assert_if_match};

#[tokio::test]
async fn rolls_back_and_forward() {
    let service = Service::new();
    service.put_script("s", "return 1").await.assert(201);
    service.put_script("s", "return 2").await.assert(200);
    for version in [1, 2, 1] {
        let path = "/scripts/s/activate";
        let script = service.post(path, json!({ "version": version })).await.assert(200);
        assert_eq!((&script["version"], &script["latest_version"]), (&json!(version), &json!(2)));
        let ran = service.run_script("s", &[], &[]).await.assert(200);
        assert_eq!((&ran["version"], &ran["result"]), (&json!(version), &json!(version)));
    }
    // The version that runs already is no change.
    let again = service.post("/scripts/s/activate", json!({ "version": 1 })).await;
    assert_eq!(again.header("etag"), Some("\"5\""));
    // A new source counts on from the newest version.
    assert_eq!(service.put_script("s", "return 3").await.assert(200)["version"], 3);
}

#[tokio::test]
async fn refuses_what_is_not_there_and_another_revision() {
    let service = Service::new();
    let call = |version: i64| service.post("/scripts/s/activate", json!({ "version": version }));
    call(1).await.expect_problem(404, "script_not_found");
    service.put_script("s", "return 1").await.assert(201);
    service.put_script("s", "return 2").await.assert(200);
    for version in [0, 3, 1_000_000] {
        let refused = call(version).await.expect_problem(404, "script_version_not_found");
        assert_eq!(refused["version"], version);
    }
    call(-1).await.expect_problem(422, "validation_failed");
    assert_eq!(assert_if_match(&service, 2, call(1)).await["version"], 1);
}
