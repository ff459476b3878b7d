//! Idempotency: calls that are sent again under one key have one effect.

use redis::Commands;
use serde_json::json;

use crate::{
    catalogue::{Seeded, catalogue},
    support::{LossyProxy, Service, owner_of, race},
};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sends_under_one_key_have_one_effect() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let tasks = race(64, |_| service.transfer("alice", "bob", "1").key("pay-1"));
    let answers = tasks.await;
    assert_eq!((answers.count(201), answers.replayed()), (64, 63));
    answers.assert_all_equal(201);
    assert_eq!(service.balance("bob").await, "1.00");
}

/// Every command is sent three times under one key, and is answered as it was the first time.
#[tokio::test]
async fn every_command_answers_a_repeat_as_the_first_time() {
    let service = Service::new();
    for entry in catalogue().iter().filter(|entry| entry.is_command()) {
        let seeded = Seeded::new(&service, entry.needs).await;
        let call = seeded.call(entry).key("k");
        let first = call.clone().await;
        let name = entry.name;
        assert!(first.status.is_success() && !first.replayed(), "{name} {:#}", first.body);
        let before = seeded.service.snapshot();
        for _ in 0..2 {
            let again = call.clone().await;
            assert!(again.replayed(), "{name}");
            let mut body = again.body;
            if name == "locks/acquire" {
                // A lease that is answered again says how much is left of it.
                body["expires_in_ms"] = first.body["expires_in_ms"].clone();
            }
            if ["keys/create", "keys/rotate"].contains(&name) {
                // Nothing remembers the text of a key.
                assert!(body["key"].is_null() && first.body["key"].is_string(), "{name}");
                body["key"] = first.body["key"].clone();
            }
            if name == "scripts/run" {
                // The time is that of the repeat.
                body["duration_us"] = first.body["duration_us"].clone();
            }
            assert_eq!((again.status, &body), (first.status, &first.body), "{name}");
        }
        seeded.service.assert_unchanged(&before);
    }
}

#[tokio::test]
async fn a_refusal_is_recorded_under_the_key() {
    let service = Service::new();
    service.open("alice", "1").await;
    service.open("bob", "0").await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "2" });
    let first = service.post("/accounts/transfer", body.clone()).key("k").await;
    assert!(!first.replayed());
    let first = first.expect_problem(409, "insufficient_funds");
    service.deposit("alice", "5").await.assert(201);
    let again = service.post("/accounts/transfer", body.clone()).key("k").await;
    assert!(again.replayed());
    assert_eq!(again.expect_problem(409, "insufficient_funds")["available"], first["available"]);
    service.post("/accounts/transfer", body).key("another").await.assert(201);
}

#[tokio::test]
async fn an_invalid_call_is_not_recorded_under_the_key() {
    let service = Service::new();
    service.open("alice", "1").await;
    service.open("bob", "0").await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "0.001" });
    service
        .post("/accounts/transfer", body)
        .key("k")
        .await
        .expect_problem(422, "amount_scale_exceeded");
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "0.01" });
    let answer = service.post("/accounts/transfer", body).key("k").await;
    assert!(!answer.replayed());
    answer.assert(201);
}

#[tokio::test]
async fn a_key_stands_for_one_call() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "5").await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
    service.post("/accounts/transfer", body.clone()).key("k").await.assert(201);
    let before = service.snapshot();
    let mut other = body.clone();
    other["amount"] = "2".into();
    service
        .post("/accounts/transfer", other)
        .key("k")
        .await
        .expect_problem(422, "idempotency_key_reused");
    let deposit = json!({ "account_id": "alice", "amount": "1" });
    service
        .post("/accounts/deposit", deposit.clone())
        .key("k")
        .await
        .expect_problem(422, "idempotency_key_reused");
    service.assert_unchanged(&before);
    // The same values in another notation are the same call.
    let text =
        r#" {"amount":"1.00", "to_account":"bob",  "from_account":"alice", "metadata": {}} "#;
    let again =
        service.post("/accounts/transfer", serde_json::from_str(text).unwrap()).key("\"k\"").await;
    assert!(again.replayed());
}

#[tokio::test]
async fn invalid_keys_are_refused() {
    let service = Service::new();
    let body = json!({ "account_id": "alice" });
    for key in ["", "\"\"", "\"a", "a b", "a\tb", &"x".repeat(256)] {
        let answer = service.post("/accounts", body.clone()).key(key).await;
        answer.expect_problem(400, "idempotency_key_invalid");
    }
    service
        .post("/accounts", body.clone())
        .key("a")
        .key("b")
        .await
        .expect_problem(400, "idempotency_key_invalid");
    assert!(service.snapshot().is_empty());
    service.post("/accounts", body).key("{}:/x".repeat(51)).await.assert(201);
}

#[tokio::test]
async fn a_repeat_renews_the_expiry_of_the_record() {
    let service = Service::with(|settings| settings.retention.idempotency_ttl_ms = 500_000);
    let body = json!({ "account_id": "alice" });
    service.post("/accounts", body.clone()).key("k").await.assert(201);
    let key = service.key("once", "k");
    redis::cmd("PEXPIRE").arg(&key).arg(1000).exec(&mut service.raw()).unwrap();
    assert!(service.post("/accounts", body).key("k").await.replayed());
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut service.raw()).unwrap();
    assert!((499_000..=500_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_record_without_a_reply_is_an_error_and_stays() {
    let service = Service::new();
    let call = service.post("/accounts", json!({ "account_id": "alice" })).key("k");
    call.clone().await.assert(201);
    let (key, mut redis) = (service.key("once", "k"), service.raw());
    let record: Vec<u8> = redis.get(&key).unwrap();
    // As MessagePack: a number, no fields, a number as the code, a list that is cut off, nothing.
    for reply in [b"\x05".as_slice(), b"\x90", b"\x91\x05", b"\x91", b""] {
        let () = redis.set_ex(&key, [&record[..40], reply].concat(), 100).unwrap();
        let before = service.snapshot();
        call.clone().await.expect_problem(500, "internal_error");
        service.assert_unchanged(&before);
        let ttl: i64 = redis.ttl(&key).unwrap();
        assert!((0..=100).contains(&ttl), "{ttl}");
    }
}

/// A service in the space of another one, whose connections to Redis carry the replies to `good` scripts each and then
/// lose one: the command arrives, its answer does not, and the connection is closed.
pub async fn losing_replies(direct: &Service, good: usize) -> Service {
    let redis = owner_of(&direct.space).url.trim_start_matches("redis://");
    let proxy = LossyProxy::start(redis.to_owned(), good).await;
    let proxy = format!("127.0.0.1:{}", proxy.port);
    let mut service = Service::with(|settings| {
        settings.url = format!("redis://{proxy}");
        settings.batch_workers = 1;
        // A node of a cluster tells its own address.
        settings.access.node_map = vec![format!("{redis}={proxy}").parse().unwrap()];
    });
    service.space.clone_from(&direct.space);
    service
}

/// Loads the script, so that the lost reply is that of a transfer and not that the script is unknown.
async fn load_transfer_script(service: &Service) {
    service.transfer("alice", "nobody", "1").await.expect_problem(404, "account_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_have_no_second_effect() {
    let direct = Service::new();
    direct.open("alice", "1000").await;
    direct.open("bob", "0").await;
    // Every connection loses its second reply, so each batch is repeated on a new one.
    let service = losing_replies(&direct, 1).await;
    for payment in 0..40 {
        let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
        let key = format!("pay-{payment}");
        service.post("/accounts/transfer", body).key(&key).await.assert(201);
    }
    assert_eq!(direct.balance("bob").await, "40.00");
    assert_eq!(direct.sum("USD"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_lost_reply_is_an_unknown_outcome() {
    let direct = Service::new();
    direct.open("alice", "10").await;
    direct.open("bob", "0").await;
    load_transfer_script(&direct).await;
    let service = losing_replies(&direct, 0).await;
    let refused =
        service.transfer("alice", "bob", "1").await.expect_problem(504, "outcome_unknown");
    assert_eq!((&refused["outcome"], &refused["retryable"]), (&json!("unknown"), &json!(false)));
    // The transfer has happened once: the service did not send it again.
    assert_eq!(direct.balance("bob").await, "1.00");
    // A read has no outcome that could be unknown.
    let refused =
        service.get("/accounts/bob/balance").await.expect_problem(503, "store_unavailable");
    assert_eq!(refused["outcome"], "not_applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_an_unknown_outcome_can_be_resolved() {
    let direct = Service::new();
    direct.open("alice", "10").await;
    direct.open("bob", "0").await;
    load_transfer_script(&direct).await;
    let service = losing_replies(&direct, 0).await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
    let refused = service.post("/accounts/transfer", body.clone()).key("k").await;
    assert_eq!(refused.expect_problem(504, "outcome_unknown")["retryable"], true);
    let answer = direct.post("/accounts/transfer", body).key("k").await;
    assert!(answer.replayed());
    answer.assert(201);
    assert_eq!(direct.balance("bob").await, "1.00");
}
