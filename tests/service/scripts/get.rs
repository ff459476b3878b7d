use serde_json::json;

use crate::support::Service;

#[tokio::test]
async fn answers_the_version_that_runs() {
    let service = Service::new();
    service.put_script("s", "return 1").await.assert(201);
    service.put_script_of("s", "return 2", json!({ "read_only": true })).await.assert(200);
    let answer = service.get("/scripts/s").await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let script = answer.assert(200);
    assert_eq!((&script["version"], &script["source"]), (&json!(2), &json!("return 2")));
    assert_eq!((&script["read_only"], &script["builtin"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn answers_the_scripts_of_the_service_and_runs_none() {
    let service = Service::new();
    let script = service.get("/scripts/accounts_transfer").await.assert(200);
    assert_eq!(script["builtin"], true);
    assert!(script["keys"].as_array().unwrap().contains(&json!("from_key")), "{script:#}");
    assert!(script["source"].as_str().unwrap().starts_with("#!lua\n"));
    let refused = service.run_script("accounts_transfer", &[], &[]).await;
    refused.expect_problem(404, "script_not_found");
}

#[tokio::test]
async fn refuses_what_is_not_there() {
    let service = Service::new();
    let refused = service.get("/scripts/none").await.expect_problem(404, "script_not_found");
    assert_eq!(refused["name"], "none");
    service.get("/scripts/%7B").await.expect_problem(422, "invalid_id");
}
