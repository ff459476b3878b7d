//! `POST /keys/rotate`.

use serde_json::json;

use super::{made, text};
use crate::support::{Service, race};

#[tokio::test]
async fn both_secrets_work_during_the_overlap_and_none_of_before() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let (id, first) = (text(&made, "key_id"), text(&made, "key").to_owned());
    let works = async |key: &str| service.as_caller(key).get("/counters/c").await.status == 200;
    let body = json!({ "key_id": id });
    let rotated = service.post("/keys/rotate", body.clone()).await.assert(200);
    let second = text(&rotated, "key").to_owned();
    assert!(first != second && rotated["previous_until"].is_string());
    assert!(works(&first).await && works(&second).await);
    let rotated = service.post("/keys/rotate", body).await.assert(200);
    let third = text(&rotated, "key").to_owned();
    assert!(!works(&first).await && works(&second).await && works(&third).await);
    let body = json!({ "key_id": id, "overlap_ms": 0 });
    let rotated = service.post("/keys/rotate", body).await.assert(200);
    assert!(rotated["previous_until"].is_null());
    let fourth = text(&rotated, "key").to_owned();
    assert!(!works(&second).await && !works(&third).await && works(&fourth).await);
}

#[tokio::test]
async fn a_rotation_under_load_loses_no_call() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let id = text(&made, "key_id").to_owned();
    let mut key = text(&made, "key").to_owned();
    for _ in 0..20 {
        let caller = service.as_caller(&key);
        let mut calls = race(40, |number| caller.increment(&format!("c{number}"), 1));
        let body = json!({ "key_id": id });
        let rotated = service.post("/keys/rotate", body).await.assert(200);
        key = text(&rotated, "key").to_owned();
        let renewed = service.as_caller(&key);
        let later = race(40, |number| renewed.increment(&format!("c{number}"), 1));
        for _ in 0..40 {
            calls.next().await.assert(200);
        }
        assert_eq!(later.await.count(200), 40);
    }
    for number in 0..40 {
        assert_eq!(service.as_caller(&key).counter(&format!("c{number}")).await, 40);
    }
}

#[tokio::test]
async fn what_cannot_be_rotated_is_refused() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let id = text(&made, "key_id");
    for overlap in [json!(-1), json!(2_592_000_001_u64), json!("1"), json!(1.5)] {
        let body = json!({ "key_id": id, "overlap_ms": overlap });
        service.post("/keys/rotate", body).await.expect_problem(422, "validation_failed");
    }
    let unknown = json!({ "key_id": "000000000000" });
    service.post("/keys/rotate", unknown).await.expect_problem(404, "key_not_found");
    service.post("/keys/revoke", json!({ "key_id": id })).await.assert(200);
    let revoked = service.post("/keys/rotate", json!({ "key_id": id })).await;
    revoked.expect_problem(409, "key_revoked");
    service
        .as_caller(text(&made, "key"))
        .get("/counters/c")
        .await
        .expect_problem(401, "unauthenticated");
}

/// A repeat has another secret in hand than the one that is stored.
#[tokio::test]
async fn a_repeat_does_not_answer_a_secret() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let body = json!({ "key_id": made["key_id"] });
    let answers = race(6, |_| service.post("/keys/rotate", body.clone()).key("k")).await;
    let told: Vec<_> = answers.iter().filter_map(|answer| answer.body["key"].as_str()).collect();
    assert_eq!((answers.count(200), answers.replayed(), told.len()), (6, 5, 1));
    service.as_caller(told[0]).get("/counters/c").await.assert(200);
}
