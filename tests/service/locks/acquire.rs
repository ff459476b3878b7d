use serde_json::json;

use crate::support::{Service, race};

#[tokio::test]
async fn acquires_a_free_lock() {
    let service = Service::new();
    let body = json!({ "lock": "l", "owner": "me \"7\"", "metadata": { "job": "1" } });
    let body = service.post("/locks", body).await.assert(201);
    assert!(body["lease_id"].as_str().unwrap().starts_with("lease_"));
    assert_eq!(
        (&body["lock"], &body["owner"], &body["mode"]),
        (&json!("l"), &json!("me \"7\""), &json!("exclusive"))
    );
    assert_eq!(
        (&body["expires_in_ms"], &body["metadata"]),
        (&json!(30_000), &json!({ "job": "1" }))
    );
    assert!(body["fencing_token"].as_u64().unwrap() > 1_700_000_000_000_000);
}

#[tokio::test]
async fn refuses_a_held_lock_and_names_the_holder() {
    let service = Service::new();
    let lease = service.acquire("l", "me", 86_400_000).await.assert(201);
    let before = service.snapshot();
    let answer = service.acquire("l", "me", 1000).await;
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let refused = answer.expect_problem(409, "lock_held");
    assert_eq!(seconds, refused["retry_after_ms"].as_u64().unwrap().div_ceil(1000));
    assert_eq!(refused["retryable"], true);
    let holder = &refused["holders"][0];
    assert_eq!((&holder["owner"], &holder["mode"]), (&json!("me"), &json!("exclusive")));
    assert!(
        refused["detail"].as_str().unwrap().starts_with("The lock l is held by me for another ")
    );
    let secret = lease["lease_id"].as_str().unwrap();
    assert!(!refused.to_string().contains(secret), "others must not learn the proof");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn a_lease_expires_to_the_millisecond() {
    let service = Service::new();
    let first = service.acquire("l", "me", 86_400_000).await.assert(201);
    service.advance_ms(86_400_000 - 60_000);
    service.acquire("l", "you", 1000).await.expect_problem(409, "lock_held");
    service.advance_ms(60_000);
    let second = service.acquire("l", "you", 1000).await.assert(201);
    assert!(second["fencing_token"].as_u64() > first["fencing_token"].as_u64());
}

#[tokio::test]
async fn the_record_of_a_lock_outlives_its_longest_lease_by_an_hour() {
    let service = Service::new();
    let ttl = || -> i64 {
        redis::cmd("PTTL").arg(service.key("lock", "l")).query(&mut service.raw()).unwrap()
    };
    let shared = |ttl_ms: u64| {
        let body = json!({ "lock": "l", "owner": "me", "mode": "shared", "ttl_ms": ttl_ms });
        service.post("/locks", body)
    };
    shared(86_400_000).await.assert(201);
    shared(1000).await.assert(201);
    let hour = 3_600_000;
    assert!((86_400_000 + hour - 60_000..=86_400_000 + hour + 1).contains(&ttl()), "{}", ttl());
}

#[tokio::test]
async fn fencing_tokens_increase_after_the_key_is_lost() {
    let service = Service::new();
    let mut last = 0;
    for round in 0..20 {
        let lease = service.acquire("l", "me", 60_000).await.assert(201);
        let token = lease["fencing_token"].as_u64().unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
        if round % 2 == 0 {
            let body = json!({ "lock": "l", "lease_id": lease["lease_id"] });
            service.post("/locks/release", body).await.assert(200);
        } else {
            redis::cmd("DEL").arg(service.key("lock", "l")).exec(&mut service.raw()).unwrap();
        }
    }
}

#[tokio::test]
async fn refuses_invalid_input() {
    let service = Service::new();
    for (field, value, code) in [
        ("lock", json!("a/b"), "invalid_id"),
        ("owner", json!(""), "validation_failed"),
        ("ttl_ms", json!(0), "validation_failed"),
        ("ttl_ms", json!(2_592_000_001_u64), "validation_failed"),
        ("ttl_ms", json!("30000"), "validation_failed"),
        ("metadata", json!({ "a": 1 }), "validation_failed"),
        ("wait", json!(1), "unknown_field"),
        ("lock", json!("release"), "invalid_id"),
        ("lock", json!("renew"), "invalid_id"),
        ("lock", json!("validate"), "invalid_id"),
        ("lock", json!("break"), "invalid_id"),
        ("wait_ms", json!(25_001), "validation_failed"),
        ("wait_ms", json!(-1), "validation_failed"),
        ("mode", json!("write"), "validation_failed"),
        ("mode", json!("permit"), "validation_failed"),
        ("permits", json!(2), "validation_failed"),
        ("locks", json!(["a", "b"]), "validation_failed"),
    ] {
        let mut body = json!({ "lock": "l", "owner": "me" });
        body[field] = value;
        service.post("/locks", body).await.expect_problem(422, code);
    }
    assert!(service.snapshot().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_callers_acquires_the_lock() {
    let service = Service::new();
    let answers = race(200, |task| service.acquire("l", &format!("w{task}"), 60_000)).await;
    assert_eq!(answers.count(201), 1);
    assert_eq!(answers.count(409), 199);
    assert_eq!(answers.count_code("lock_held"), 199);
}

#[tokio::test]
async fn a_call_that_cannot_have_the_lock_is_told_why() {
    let service = Service::new();
    let permit = |permits: u32, wait_ms: u32| {
        let body = json!({ "mode": "permit", "permits": permits, "wait_ms": wait_ms });
        super::acquire(&service, body)
    };
    permit(1, 0).await.assert(201);
    permit(2, 0).await.expect_problem(422, "permits_mismatch");
    permit(2, 1000).await.expect_problem(422, "permits_mismatch");
    let refused = permit(1, 50).await.expect_problem(409, "lock_wait_timeout");
    assert_eq!((&refused["holder_count"], &refused["queue_position"]), (&json!(1), &json!(1)));
}
