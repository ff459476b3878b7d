use serde_json::json;

use super::{MAX_SAFE_INTEGER, changed, kept_ms, read, set, set_with_expiry};
use crate::support::{HOUR, Service, race};

#[tokio::test]
async fn deletes_the_counter_and_its_expiry() {
    let service = Service::new();
    let nothing = service.snapshot();
    set_with_expiry(&service, "c", 42).await;
    let deleted = service.delete("/counters/c").await.assert(200);
    assert_eq!(deleted, json!({ "counter": "c", "deleted": true, "previous": 42 }));
    service.assert_unchanged(&nothing);
    assert_eq!(read(&service, "c").await, (0, false, false));
    let deleted = service.delete("/counters/c").await.assert(200);
    assert_eq!(deleted, json!({ "counter": "c", "deleted": false, "previous": 0 }));
    // A counter that is created again has no expiry.
    assert_eq!(service.increment("c", 1).await.assert(200), changed("c", 0, 1));
    assert_eq!(kept_ms(&service, "c"), -1);
}

#[tokio::test]
async fn an_expired_counter_does_not_exist() {
    let service = Service::new();
    set_with_expiry(&service, "c", 42).await;
    service.advance_ms(HOUR);
    let deleted = service.delete("/counters/c").await.assert(200);
    assert_eq!(deleted, json!({ "counter": "c", "deleted": false, "previous": 0 }));
    assert_eq!(kept_ms(&service, "c"), -2);
}

#[tokio::test]
async fn happens_once_under_an_idempotency_key() {
    let service = Service::new();
    set(&service, "c", -MAX_SAFE_INTEGER).await;
    let first = service.delete("/counters/c").key("k").await;
    assert!(!first.replayed());
    assert_eq!(first.assert(200)["previous"], -MAX_SAFE_INTEGER);
    set(&service, "c", 3).await;
    let again = service.delete("/counters/c").key("k").await;
    assert!(again.replayed());
    assert_eq!(again.assert(200)["previous"], -MAX_SAFE_INTEGER);
    assert_eq!(service.counter("c").await, 3, "what came after is not deleted by a repeat");
    service.delete("/counters/d").key("k").await.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn refuses_invalid_names() {
    let service = Service::new();
    set(&service, "c", 1).await;
    let before = service.snapshot();
    for id in ["%7Bc%7D", "a%20b", "c%2Fd", "%00"] {
        let answer = service.delete(&format!("/counters/{id}")).await;
        answer.expect_problem(422, "invalid_id");
    }
    // Names of operations are no counters; their paths have no DELETE.
    for word in ["increment", "decrement", "set", "reset", "batch"] {
        let answer = service.delete(&format!("/counters/{word}")).await;
        answer.expect_problem(405, "method_not_allowed");
    }
    service.delete("/counters/c?x=1").await.expect_problem(400, "invalid_query");
    service.assert_unchanged(&before);
}

/// Deletions and increments race: the deleted values and the rest are the sum of the increments.
#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_between_deletions() {
    let service = Service::new();
    let tasks = race(32, |task| {
        let service = service.clone();
        async move {
            let mut taken = 0;
            for _ in 0..10 {
                if task % 4 == 0 {
                    let deleted = service.delete("/counters/c").await.assert(200);
                    assert_eq!(deleted["deleted"] == true, deleted["previous"] != 0, "{deleted:#}");
                    taken += deleted["previous"].as_i64().unwrap();
                } else {
                    service.increment("c", 1).await.assert(200);
                }
            }
            taken
        }
    });
    let taken: i64 = tasks.await.into_iter().sum();
    assert_eq!(taken + service.counter("c").await, 24 * 10);
}
