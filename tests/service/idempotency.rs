//! Once: whatever is sent again under one key has one effect.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{Service, raw, redis_url};

#[tokio::test(flavor = "multi_thread")]
async fn many_sends_at_once_have_one_effect() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let service = service.clone();
        let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
        tasks.spawn(async move { service.post_once("/accounts/transfer", body, "pay-1").await });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.status.as_u16() == 201));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(answers.iter().filter(|answer| answer.replayed()).count(), 63);
    assert_eq!(service.balance("bob").await, "1.00");
}

/// Each command sent three times under a key: the first answer, three times.
#[tokio::test]
async fn every_command_answers_a_repeat_the_same() {
    let service = Service::new();
    let mut commands = vec![
        ("/accounts", json!({ "account_id": "alice", "initial_balance": "10" })),
        ("/accounts", json!({ "account_id": "bob" })),
        (
            "/accounts/transfer",
            json!({ "from_account": "alice", "to_account": "bob", "amount": "1" }),
        ),
        ("/accounts/deposit", json!({ "account_id": "alice", "amount": "1" })),
        ("/accounts/withdraw", json!({ "account_id": "alice", "amount": "1" })),
        (
            "/inventory/products",
            json!({ "product_id": "cup", "name": "c", "price": "1", "initial_stock": 9 }),
        ),
        ("/inventory/adjust", json!({ "product_id": "cup", "delta": 1, "reason": "received" })),
        ("/inventory/reserve", json!({ "customer_id": "c", "product_id": "cup", "quantity": 2 })),
        ("/locks", json!({ "lock": "l", "owner": "me" })),
        (
            "/ratelimit",
            json!({ "key": "k", "capacity": 5, "refill_tokens": 1, "refill_interval_ms": 60_000 }),
        ),
        (
            "/ratelimit",
            json!({ "key": "k", "algorithm": "sliding_window", "limit": 5, "window_ms": 60_000 }),
        ),
    ];
    let lease = service.acquire("m", "me", 60_000).await.assert(201)["lease_id"].clone();
    commands.push(("/locks/renew", json!({ "lock": "m", "lease_id": lease, "ttl_ms": 90_000 })));
    commands.push(("/locks/release", json!({ "lock": "m", "lease_id": lease })));
    // Those two are opened by the commands; these are there before.
    service.open("carol", "10").await;
    service.open("dave", "0").await;
    let one = service.held("carol", "dave", "1").await;
    let other = service.held("carol", "dave", "1").await;
    let paid = service.transfer("carol", "dave", "1").await.assert(201);
    service.add_product("pot", 9).await;
    let mut reserved = Vec::new();
    for _ in 0..3 {
        let body = service.reserve("pot", 2, 600_000).await.assert(201);
        reserved.push(body["reservation_id"].clone());
    }
    commands.extend([
        ("/inventory/extend", json!({ "reservation_id": reserved[0], "ttl_ms": 900_000 })),
        (
            "/inventory/confirm",
            json!({
                "reservation_id": reserved[1], "remainder": "keep",
                "lines": [{ "product_id": "pot", "quantity": 1 }]
            }),
        ),
        ("/inventory/cancel", json!({ "reservation_id": reserved[2] })),
        ("PATCH /inventory/products/pot", json!({ "price": "3" })),
        (
            "/accounts/hold",
            json!({ "from_account": "alice", "to_account": "bob", "amount": "1", "ttl_ms": 60_000 }),
        ),
        ("/accounts/extend", json!({ "hold_id": one, "ttl_ms": 90_000_000 })),
        ("/accounts/capture", json!({ "hold_id": one, "amount": "0.5", "final": false })),
        ("/accounts/release", json!({ "hold_id": other })),
        ("/accounts/reverse", json!({ "transaction_id": paid["transaction_id"], "amount": "0.5" })),
        ("PATCH /accounts/alice", json!({ "overdraft_limit": "5" })),
        ("/accounts/freeze", json!({ "account_id": "alice", "direction": "debits" })),
        ("/accounts/unfreeze", json!({ "account_id": "alice" })),
        ("/counters/increment", json!({ "counter": "n", "by": 7, "ttl_ms": 60_000 })),
        ("/counters/decrement", json!({ "counter": "n", "by": 2 })),
        ("/counters/set", json!({ "counter": "n", "value": 9, "if_value": 5 })),
        (
            "/counters/batch",
            json!({ "operations": [{ "counter": "n", "action": "incr", "value": 1 }] }),
        ),
        ("/counters/reset", json!({ "counter": "n", "value": 3 })),
        ("DELETE /counters/n", json!(null)),
        (
            "/atomic",
            json!({ "operations": [
                { "operation": "counters/increment", "input": { "counter": "n" } },
                { "operation": "accounts/transfer", "input": {
                    "from_account": "alice", "to_account": "bob", "amount": "1"
                } },
                { "operation": "inventory/reserve", "input": {
                    "customer_id": "c", "product_id": "pot", "quantity": 1
                } }
            ] }),
        ),
        ("/batch/set", json!({ "values": { "text": "1" } })),
        ("/batch", json!({ "operations": [{ "type": "incr", "key": "text" }] })),
        ("/transactions", json!({ "operations": [{ "type": "incr", "key": "text" }] })),
        ("/accounts/close", json!({ "account_id": "bob", "sweep_to": "alice" })),
    ]);
    for (index, (path, body)) in commands.into_iter().enumerate() {
        let key = format!("key-{index}");
        let headers = [("idempotency-key", key.as_str())];
        let send = async || match path.split_once(' ') {
            Some(("PATCH", path)) => service.patch(path, body.clone(), &headers).await,
            Some(("DELETE", path)) => service.delete(path, &headers).await,
            _ => service.post_once(path, body.clone(), &key).await,
        };
        let first = send().await;
        assert!(first.status.is_success() && !first.replayed(), "{path} {:#}", first.body);
        let before = service.snapshot();
        for _ in 0..2 {
            let again = send().await;
            assert!(again.replayed(), "{path}");
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{path}");
        }
        service.assert_unchanged(&before);
    }
}

#[tokio::test]
async fn a_refusal_is_remembered_too() {
    let service = Service::new();
    service.open("alice", "1").await;
    service.open("bob", "0").await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "2" });
    let first = service.post_once("/accounts/transfer", body.clone(), "k").await;
    assert!(!first.replayed());
    let first = first.expect_problem(409, "insufficient_funds");
    let more = json!({ "account_id": "alice", "amount": "5" });
    service.post("/accounts/deposit", more).await.assert(201);
    let again = service.post_once("/accounts/transfer", body.clone(), "k").await;
    assert!(again.replayed());
    assert_eq!(again.expect_problem(409, "insufficient_funds")["available"], first["available"]);
    service.post_once("/accounts/transfer", body, "another").await.assert(201);
}

#[tokio::test]
async fn what_was_never_decided_is_not_remembered() {
    let service = Service::new();
    service.open("alice", "1").await;
    service.open("bob", "0").await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "0.001" });
    service
        .post_once("/accounts/transfer", body, "k")
        .await
        .expect_problem(422, "amount_scale_exceeded");
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "0.01" });
    let answer = service.post_once("/accounts/transfer", body, "k").await;
    assert!(!answer.replayed());
    answer.assert(201);
}

#[tokio::test]
async fn a_key_stands_for_one_call() {
    let service = Service::new();
    service.open("alice", "5").await;
    service.open("bob", "5").await;
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
    service.post_once("/accounts/transfer", body.clone(), "k").await.assert(201);
    let before = service.snapshot();
    let mut other = body.clone();
    other["amount"] = "2".into();
    service
        .post_once("/accounts/transfer", other, "k")
        .await
        .expect_problem(422, "idempotency_key_reused");
    let deposit = json!({ "account_id": "alice", "amount": "1" });
    service
        .post_once("/accounts/deposit", deposit.clone(), "k")
        .await
        .expect_problem(422, "idempotency_key_reused");
    service.assert_unchanged(&before);
    // The same call in other words is the same call.
    let text =
        r#" {"amount":"1.00", "to_account":"bob",  "from_account":"alice", "metadata": {}} "#;
    let again = service
        .post_with(
            "/accounts/transfer",
            serde_json::from_str(text).unwrap(),
            &[("idempotency-key", "\"k\"")],
        )
        .await;
    assert!(again.replayed());
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_refused() {
    let service = Service::new();
    let body = json!({ "account_id": "alice" });
    for key in ["", "\"\"", "\"a", "a b", "a\tb", &"x".repeat(256)] {
        let answer = service.post_once("/accounts", body.clone(), key).await;
        answer.expect_problem(400, "idempotency_key_invalid");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    service
        .post_with("/accounts", body.clone(), &twice)
        .await
        .expect_problem(400, "idempotency_key_invalid");
    assert!(service.snapshot().is_empty());
    service.post_once("/accounts", body, &"{}:/x".repeat(51)).await.assert(201);
}

#[tokio::test]
async fn the_record_has_an_end_that_a_repeat_moves() {
    let service = Service::with(|settings| settings.retention.idempotency_ttl_ms = 500_000);
    let body = json!({ "account_id": "alice" });
    service.post_once("/accounts", body.clone(), "k").await.assert(201);
    let key = service.key("once", "k");
    redis::cmd("PEXPIRE").arg(&key).arg(1000).exec(&mut raw()).unwrap();
    assert!(service.post_once("/accounts", body, "k").await.replayed());
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query(&mut raw()).unwrap();
    assert!((499_000..=500_000).contains(&ttl), "{ttl}");
}

/// A wire to Redis that carries `good` replies and then loses one: the command arrives, its answer
/// does not, and the connection is gone.
pub async fn lossy(good: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let redis = redis_url().trim_start_matches("redis://").to_owned();
    tokio::spawn(async move {
        loop {
            let (mut caller, _) = listener.accept().await.unwrap();
            let redis = redis.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(redis).await.unwrap();
                let (mut up, mut down) = ([0; 65536], [0; 65536]);
                let mut calls = 0;
                loop {
                    tokio::select! {
                        sent = caller.read(&mut up) => match sent {
                            Ok(1..) => {
                                let sent = sent.unwrap();
                                calls += usize::from(String::from_utf8_lossy(&up[..sent]).contains("EVAL"));
                                server.write_all(&up[..sent]).await.unwrap();
                            }
                            _ => return,
                        },
                        answered = server.read(&mut down) => match answered {
                            Ok(1..) if calls <= good => {
                                if caller.write_all(&down[..answered.unwrap()]).await.is_err() {
                                    return;
                                }
                            }
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    port
}

/// Redis knows the script from now on, so that the reply that is lost is that of a transfer, and not
/// that the script is unknown.
async fn know_transfers(service: &Service) {
    service.transfer("alice", "nobody", "1").await.expect_problem(404, "account_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_have_no_second_effect() {
    let direct = Service::new();
    direct.open("alice", "1000").await;
    direct.open("bob", "0").await;
    // Every connection loses its second reply: each round is repeated on a new one.
    let port = lossy(1).await;
    let mut service = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{port}");
        settings.batch_workers = 1;
    });
    service.space = direct.space.clone();
    for payment in 0..40 {
        let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
        let key = format!("pay-{payment}");
        service.post_once("/accounts/transfer", body, &key).await.assert(201);
    }
    assert_eq!(direct.balance("bob").await, "40.00");
    assert_eq!(direct.sum("USD"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_lost_reply_is_an_unknown_outcome() {
    let direct = Service::new();
    direct.open("alice", "10").await;
    direct.open("bob", "0").await;
    know_transfers(&direct).await;
    let port = lossy(0).await;
    let mut service = Service::with(|settings| settings.url = format!("redis://127.0.0.1:{port}"));
    service.space = direct.space.clone();
    let refused =
        service.transfer("alice", "bob", "1").await.expect_problem(504, "outcome_unknown");
    assert_eq!((&refused["outcome"], &refused["retryable"]), (&json!("unknown"), &json!(false)));
    // It did happen, once: the service did not send it again.
    assert_eq!(direct.balance("bob").await, "1.00");
    // A read has no outcome to be unsure of.
    let refused =
        service.get("/accounts/bob/balance").await.expect_problem(503, "store_unavailable");
    assert_eq!(refused["outcome"], "not_applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_an_unknown_outcome_can_be_resolved() {
    let direct = Service::new();
    direct.open("alice", "10").await;
    direct.open("bob", "0").await;
    know_transfers(&direct).await;
    let port = lossy(0).await;
    let mut service = Service::with(|settings| settings.url = format!("redis://127.0.0.1:{port}"));
    service.space = direct.space.clone();
    let body = json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
    let refused = service.post_once("/accounts/transfer", body.clone(), "k").await;
    assert_eq!(refused.expect_problem(504, "outcome_unknown")["retryable"], true);
    let answer = direct.post_once("/accounts/transfer", body, "k").await;
    assert!(answer.replayed());
    answer.assert(201);
    assert_eq!(direct.balance("bob").await, "1.00");
}
