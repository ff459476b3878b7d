//! Tests of `POST /batch/set`: plain data keys that are written in one step.

use serde_json::{Map, Value, json};

use super::run::{batch, data_key, outcomes};
use crate::support::Service;

#[tokio::test]
async fn overwrites_all_keys_of_any_type() {
    let service = Service::new();
    batch(&service, json!([{ "type": "rpush", "key": "a", "values": ["x"] }])).await;
    let body = json!({ "values": { "a": "1", "b": "" }, "ttl_ms": 60_000 });
    let answer = service.post("/batch/set", body).await.assert(200);
    assert_eq!(answer, json!({ "written": 2 }));
    let reads = json!([{ "type": "get", "key": "a" }, { "type": "get", "key": "b" }]);
    assert_eq!(outcomes(&batch(&service, reads).await), ["1", ""]);
    let ttl = |key: &str| -> i64 {
        redis::cmd("PTTL").arg(data_key(&service, key)).query(&mut service.raw()).unwrap()
    };
    assert!(ttl("a") > 0 && ttl("b") > 0);
    // Writing without `ttl_ms` removes an expiry.
    service.post("/batch/set", json!({ "values": { "a": "2" } })).await.assert(200);
    assert_eq!(ttl("a"), -1);
}

#[tokio::test]
async fn refuses_invalid_keys_and_values() {
    let service = Service::new();
    let many: Map<String, Value> = (0..1001).map(|key| (key.to_string(), json!("x"))).collect();
    for (body, code, pointer) in [
        (json!({ "values": {} }), "validation_failed", "/values"),
        (json!({ "values": many }), "validation_failed", "/values"),
        (json!({ "values": { "a": 1 } }), "validation_failed", "/values/a"),
        (json!({ "values": { "a": "?" }, "encoding": "base64" }), "validation_failed", "/values/a"),
        (json!({ "values": { "a": "1" }, "ttl_ms": 0 }), "validation_failed", "/ttl_ms"),
        (json!({ "values": { "a": "1" }, "ttl": 1 }), "unknown_field", "/ttl"),
    ] {
        let refused = service.post("/batch/set", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    for key in ["", " a", "a/b", "a\n", "}a", &"a".repeat(129)] {
        let body = json!({ "values": { "good": "1", key: "1" } });
        let answer = service.post("/batch/set", body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (422, &json!("invalid_id")));
    }
    let thousand: Map<String, Value> = (0..1000).map(|key| (key.to_string(), json!("x"))).collect();
    service.post("/batch/set", json!({ "values": thousand })).await.assert(200);
}
