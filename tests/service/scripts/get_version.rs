use serde_json::json;

use crate::support::Service;

#[tokio::test]
async fn answers_each_version() {
    let service = Service::new();
    service.put_script("s", "return 1").await.assert(201);
    service.put_script("s", "return 2").await.assert(200);
    for number in [1, 2] {
        let script = service.get(&format!("/scripts/s/versions/{number}")).await.assert(200);
        let source = format!("return {number}");
        assert_eq!((&script["version"], &script["source"]), (&json!(number), &json!(source)));
    }
}

#[tokio::test]
async fn refuses_what_is_not_there() {
    let service = Service::new();
    service.get("/scripts/s/versions/1").await.expect_problem(404, "script_not_found");
    service.put_script("s", "return 1").await.assert(201);
    let refused = service.get("/scripts/s/versions/2").await;
    let refused = refused.expect_problem(404, "script_version_not_found");
    assert_eq!((&refused["name"], &refused["version"]), (&json!("s"), &json!(2)));
    for number in ["0", "x", "-1", "1.5", "9999999999999999", "%2B1"] {
        let refused = service.get(&format!("/scripts/s/versions/{number}")).await;
        assert_eq!(refused.expect_problem(422, "invalid_id")["parameter"], "version", "{number}");
    }
}
