//! Tests of `POST /batch/get`: reads of plain data keys.

use std::collections::BTreeMap;

use serde_json::json;

use super::run::batch;
use crate::support::Service;

#[tokio::test]
async fn reads_existing_keys_and_null_for_others() {
    let service = Service::new();
    let operations = json!([
        { "type": "set", "key": "a", "value": "1" },
        { "type": "set", "key": "bytes", "value": "/w==", "encoding": "base64" },
        { "type": "rpush", "key": "list", "values": ["x"] },
    ]);
    batch(&service, operations).await;
    let keys = json!(["a", "bytes", "list", "none", "a"]);
    let answer = service.post("/batch/get", json!({ "keys": keys })).await.assert(200);
    let expected = json!({ "a": "1", "bytes": { "base64": "/w==" }, "list": null, "none": null });
    assert_eq!(answer["values"], expected);
    let body = json!({ "keys": ["a", "bytes", "none"], "encoding": "base64" });
    let answer = service.post("/batch/get", body).await.assert(200);
    assert_eq!(answer["values"], json!({ "a": "MQ==", "bytes": "/w==", "none": null }));
}

/// The server reads far more keys in parts, which neither overlap nor leave a key out.
#[tokio::test]
async fn each_of_many_keys_has_its_own_value() {
    let service = Service::new();
    let values: BTreeMap<String, String> =
        (0..131).map(|number| (format!("k{number}"), number.to_string())).collect();
    service.post("/batch/set", json!({ "values": values })).await.assert(200);
    let keys: Vec<&String> = values.keys().collect();
    let answer = service.post("/batch/get", json!({ "keys": keys })).await.assert(200);
    assert_eq!(answer["values"], json!(values));
}

#[tokio::test]
async fn refuses_invalid_keys() {
    let service = Service::new();
    for (body, code, pointer) in [
        (json!({ "keys": [] }), "validation_failed", "/keys"),
        (json!({ "keys": vec!["a"; 1001] }), "validation_failed", "/keys"),
        (json!({ "keys": ["a", 1] }), "validation_failed", "/keys/1"),
        (json!({ "keys": ["a", "{b}"] }), "invalid_id", "/keys/1"),
        (json!({ "keys": "a" }), "validation_failed", "/keys"),
        (json!({}), "validation_failed", "/keys"),
    ] {
        let refused = service.post("/batch/get", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
}

#[tokio::test]
async fn reads_are_bounded_and_each_key_is_read_once() {
    let service = Service::new();
    let long = "x".repeat(200_000);
    for number in 0..22 {
        let body = json!({ "values": { format!("k{number}"): long } });
        service.post("/batch/set", body).await.assert(200);
    }
    let keys: Vec<String> = (0..22).map(|number| format!("k{number}")).collect();
    let refused = service.post("/batch/get", json!({ "keys": keys })).await;
    assert_eq!(refused.expect_problem(422, "result_too_large")["most"], 4 * 1024 * 1024);
    service.post("/batch/get", json!({ "keys": keys[..20] })).await.assert(200);
    let answer = service.post("/batch/get", json!({ "keys": vec!["k1"; 1000] })).await.assert(200);
    assert_eq!(answer["values"], json!({ "k1": long }));
}
