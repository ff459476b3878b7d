//! Calls whose reply is lost: the lease that nobody learns of does not stay.

use serde_json::json;

use super::acquire;
use crate::{idempotency::losing_replies, support::Service};

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_nobody_learned_of_is_given_back() {
    let direct = Service::new();
    acquire(&direct, json!({ "lock": "warm" })).await.assert(201);
    // Each connection answers one script and loses the reply of the next.
    let service = losing_replies(&direct, 1).await;
    let mut lost = 0;
    for number in 0..10 {
        let lock = format!("l{number}");
        let answer = acquire(&service, json!({ "lock": lock })).await;
        if answer.status == 201 {
            continue;
        }
        answer.expect_problem(504, "outcome_unknown");
        lost += 1;
        let next = json!({ "lock": lock, "owner": "you", "wait_ms": 20_000 });
        acquire(&direct, next).await.assert(201);
    }
    assert!(lost > 0, "no reply was lost");
}
