use serde_json::json;

use super::{MAX_SAFE_INTEGER, changed, ending, kept_ms, seen, set};
use crate::support::{HOUR, Service, race};

#[tokio::test]
async fn leaves_nothing_behind() {
    let service = Service::new();
    let nothing = service.snapshot();
    ending(&service, "c", 42).await;
    let gone = service.delete("/counters/c").await.assert(200);
    assert_eq!(gone, json!({ "counter": "c", "deleted": true, "previous": 42 }));
    service.assert_unchanged(&nothing);
    assert_eq!(seen(&service, "c").await, (0, false, false));
    let gone = service.delete("/counters/c").await.assert(200);
    assert_eq!(gone, json!({ "counter": "c", "deleted": false, "previous": 0 }));
    // The next one begins without the end of this one.
    assert_eq!(service.increment("c", 1).await.assert(200), changed("c", 0, 1));
    assert_eq!(kept_ms(&service, "c"), -1);
}

#[tokio::test]
async fn one_that_has_ended_was_not_there() {
    let service = Service::new();
    ending(&service, "c", 42).await;
    service.advance_ms(HOUR);
    let gone = service.delete("/counters/c").await.assert(200);
    assert_eq!(gone, json!({ "counter": "c", "deleted": false, "previous": 0 }));
    assert_eq!(kept_ms(&service, "c"), -2);
}

#[tokio::test]
async fn happens_once_under_a_key() {
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
async fn refuses_what_is_no_counter() {
    let service = Service::new();
    set(&service, "c", 1).await;
    let before = service.snapshot();
    for id in ["%7Bc%7D", "a%20b", "c%2Fd", "%00"] {
        let told = service.delete(&format!("/counters/{id}")).await;
        told.expect_problem(422, "invalid_id");
    }
    // Words of the service are no counters; those paths have no DELETE, and say so.
    for word in ["increment", "decrement", "set", "reset", "batch"] {
        let told = service.delete(&format!("/counters/{word}")).await;
        told.expect_problem(405, "method_not_allowed");
    }
    service.delete("/counters/c?x=1").await.expect_problem(400, "invalid_query");
    service.assert_unchanged(&before);
}

/// Deletions and steps race: what the deletions took and what is left is what was added.
#[tokio::test(flavor = "multi_thread")]
async fn no_step_is_lost_between_deletions() {
    let service = Service::new();
    let tasks = race(32, |task| {
        let service = service.clone();
        async move {
            let mut taken = 0;
            for _ in 0..10 {
                if task % 4 == 0 {
                    let gone = service.delete("/counters/c").await.assert(200);
                    assert_eq!(gone["deleted"] == true, gone["previous"] != 0, "{gone:#}");
                    taken += gone["previous"].as_i64().unwrap();
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
