//! `keys/poll`: every change of a key has the next number.

use redis::Commands;
use serde_json::json;

use super::{made, text};
use crate::support::Service;

#[tokio::test]
async fn every_change_is_counted_once() {
    let service = Service::with_keys().await;
    let version = || {
        let key = service.key("caller_keys", "version");
        let text: Option<String> = service.raw().get(key).unwrap();
        text.map(|text| text.strip_prefix("changes:").unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(version(), None);
    let key = made(&service).await;
    let id = text(&key, "key_id");
    assert_eq!(version(), Some(1));
    service.patch(&format!("/keys/{id}"), json!({ "disabled": true })).await.assert(200);
    service.post("/keys/rotate", json!({ "key_id": id })).await.assert(200);
    service.post("/keys/revoke", json!({ "key_id": id })).await.assert(200);
    assert_eq!(version(), Some(4));
    service.post("/keys/revoke", json!({ "key_id": id })).await.assert(200);
    assert_eq!(version(), Some(4));
}
