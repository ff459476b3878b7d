//! Calls whose answer nobody gets: the lease that nobody learned of does not stay.

use serde_json::json;

use super::{get, set};
use crate::{idempotency::losing_replies, support::Service};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_costs_no_lease() {
    let direct = Service::new();
    // Each connection answers one script and loses the reply of the next.
    let service = losing_replies(&direct, 1).await;
    set(&direct, json!({ "key": "warm" })).await.assert(200);
    get(&direct, json!({ "key": "warm" })).await.assert(200);
    get(&service, json!({ "key": "warm" })).await.assert(200);
    // The call is sent again, and asks for the same lease.
    let answer = get(&service, json!({ "lease_ms": 60_000 })).await.assert(200);
    let token = answer["lease_token"].clone();
    assert!(token.is_string(), "{answer}");
    super::fill(&direct, &token, json!({})).await.assert(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_gives_its_lease_back() {
    let service = Service::new();
    for i in 0..50 {
        let key = format!("k{i}");
        let call = get(&service, json!({ "key": key, "lease_ms": 60_000 }));
        let mut call = tokio::spawn(call.into_future());
        // It goes at any moment of its way.
        for _ in 0..i % 7 {
            tokio::task::yield_now().await;
        }
        call.abort();
        if (&mut call).await.is_ok() {
            continue;
        }
        let next = json!({ "key": key, "wait_ms": 20_000, "lease_ms": 60_000 });
        let answer = get(&service, next).await.assert(200);
        assert!(answer["lease_token"].is_string(), "{answer}");
    }
}
