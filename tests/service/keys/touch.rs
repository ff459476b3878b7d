//! `keys/touch`: the last use of a key is told to the minute, and is not written by each call.

use std::time::Duration;

use super::{made, text};
use crate::support::Service;

#[tokio::test]
async fn a_use_is_stored_to_the_minute() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let path = format!("/keys/{}", text(&made, "key_id"));
    assert!(service.get(&path).await.assert(200)["last_used_at"].is_null());
    let caller = service.as_caller(text(&made, "key"));
    for _ in 0..10 {
        caller.get("/counters/c").await.assert(200);
    }
    let stored = async {
        loop {
            let read = service.get(&path).await.assert(200);
            if let Some(moment) = read["last_used_at"].as_str() {
                return moment.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let moment = tokio::time::timeout(Duration::from_secs(20), stored).await.expect("a use");
    assert!(moment.ends_with(":00.000Z"), "{moment}");
    // It is no change of what the key may do.
    let version: String = redis::cmd("GET")
        .arg(service.key("caller_keys", "version"))
        .query(&mut service.raw())
        .unwrap();
    assert_eq!(version, "changes:1");
}
