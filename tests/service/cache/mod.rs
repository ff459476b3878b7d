mod fill;
mod get;
mod invalidate;
mod large;
mod model;
mod read;
mod record;
mod set;
mod shared_looks;
mod statistics;
mod waiting;
mod withdraw;

use serde_json::{Value, json};

use crate::support::{Call, Service};

/// A minute in milliseconds.
const MINUTE: i64 = 60_000;

/// Gets the key `k` unless the body names another one.
fn get(service: &Service, body: Value) -> Call {
    service.post("/cache/get", with(json!({ "key": "k" }), body))
}

/// Fills the key `k` with `v` for a minute unless the body says otherwise.
fn fill(service: &Service, lease_token: &Value, body: Value) -> Call {
    let whole = json!({ "key": "k", "value": "v", "ttl_ms": MINUTE, "lease_token": lease_token });
    service.post("/cache/fill", with(whole, body))
}

/// Sets the key `k` to `v` for a minute unless the body says otherwise.
fn set(service: &Service, body: Value) -> Call {
    service.post("/cache/set", with(json!({ "key": "k", "value": "v", "ttl_ms": MINUTE }), body))
}

fn invalidate(service: &Service, body: Value) -> Call {
    service.post("/cache/invalidate", body)
}

/// Gets the lease to fill `k`.
async fn lease(service: &Service) -> Value {
    let answer = get(service, json!({})).await.assert(200);
    assert_eq!(answer["hit"], false, "{answer}");
    assert!(answer["lease_token"].is_string(), "{answer}");
    answer["lease_token"].clone()
}

fn with(mut whole: Value, body: Value) -> Value {
    for (name, value) in body.as_object().unwrap() {
        whole[name] = value.clone();
    }
    whole
}
