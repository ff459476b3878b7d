//! The actor of what was done: the key of a call stands in what the call has written, and in the list of failures.

use serde_json::{Value, json};

use super::text;
use crate::support::{Service, operation};

/// Panics unless a part of an answer names this key.
#[track_caller]
fn assert_by(part: &Value, key: &Value) {
    assert_eq!((&part["actor"], &part["actor_name"]), (&key["key_id"], &key["name"]), "{part:#}");
}

async fn named(service: &Service, name: &str) -> (Value, Service) {
    let body = json!({ "name": name, "scopes": ["*"], "spaces": ["*"] });
    let key = service.post("/keys", body).await.assert(201);
    let caller = service.as_caller(text(&key, "key"));
    (key, caller)
}

#[tokio::test]
async fn money_is_moved_by_somebody() {
    let root = Service::with_keys().await;
    let (till, seller) = named(&root, "till \"3\" ü\\").await;
    let (office, clerk) = named(&root, "office").await;
    seller.open("alice", "9").await;
    seller.open("bob", "0").await;
    let paid = seller.transfer("alice", "bob", "2.50").await.assert(201);
    let metadata = json!({
        "from_account": "alice", "to_account": "bob", "amount": "99999999999999999.00",
        "description": "d", "metadata": { "a": "b" }
    });
    seller.deposit("alice", "99999999999999999.00").await.assert(201);
    clerk.post("/accounts/transfer", metadata).await.assert(201);
    let reversed = clerk.reverse(text(&paid, "transaction_id"), Some("1")).await.assert(201);
    let read = async |id: &Value, field: &str| {
        let path = format!("/accounts/transactions/{}", text(id, field));
        clerk.get(&path).await.assert(200)
    };
    // The transaction that was reversed was made by the first one still.
    let first = read(&paid, "transaction_id").await;
    assert_by(&first, &till);
    assert_eq!((&first["reversed"], &first["metadata"]), (&json!("1.00"), &json!({})));
    assert_by(&read(&reversed, "transaction_id").await, &office);
    let history = clerk.get("/accounts/alice/transactions").await.assert(200);
    let by = [&office, &office, &till, &till, &till];
    for (posting, key) in history["transactions"].as_array().unwrap().iter().zip(by) {
        assert_by(posting, key);
    }
    assert_eq!(history["transactions"][1]["metadata"], json!({ "a": "b" }));
    let account = clerk.get("/accounts/bob").await.assert(200);
    assert_by(&account["recent_transactions"][0], &office);
    clerk.get("/accounts/integrity").await.assert(200);
    assert_eq!(root.sum("USD"), 0);
}

#[tokio::test]
async fn calls_of_several_keys_in_one_script_keep_theirs() {
    let root = Service::with_keys().await;
    let (one, first) = named(&root, "one").await;
    let (two, second) = named(&root, "two").await;
    first.open("alice", "0").await;
    let calls = crate::support::race(60, |number| {
        let caller = if number % 2 == 0 { &first } else { &second };
        let call = caller.deposit("alice", &format!("0.{:02}", number + 1));
        // Some with an idempotency key, and some without.
        if number % 3 == 0 { call.key(format!("k{number}")) } else { call }
    });
    assert_eq!(calls.await.count(201), 60);
    let history = first.get("/accounts/alice/transactions?limit=100").await.assert(200);
    for posting in history["transactions"].as_array().unwrap() {
        let cents: usize = text(posting, "amount").replace("0.", "").parse().unwrap();
        assert_by(posting, if cents % 2 == 1 { &one } else { &two });
    }
}

#[tokio::test]
async fn all_steps_of_one_call_are_by_its_key() {
    let root = Service::with_keys().await;
    let (key, caller) = named(&root, "checkout").await;
    caller.open("alice", "9").await;
    caller.add_product("cup", 5).await;
    let lock = caller.acquire("l", "w", 60_000).await.assert(201);
    let guard = format!("lock=l;token={}", lock["fencing_token"]);
    let steps = [
        operation("accounts/withdraw", json!({ "account_id": "alice", "amount": "1" })),
        operation(
            "inventory/reserve",
            json!({ "customer_id": "carol", "product_id": "cup", "quantity": 2 }),
        ),
        operation(
            "inventory/adjust",
            json!({ "product_id": "cup", "delta": -1, "reason": "lost", "reference": "r" }),
        ),
    ];
    let call = caller.atomic(&steps).key("k").header("lockstep-guard", &guard);
    call.clone().await.assert(200);
    assert!(call.await.replayed());
    let lines = steps[..1].iter().map(Value::to_string).collect::<String>();
    let request = axum::http::Request::post("/bulk")
        .header("content-type", "application/x-ndjson")
        .header("lockstep-space", &caller.space)
        .body(lines.into());
    assert_eq!(caller.send(request.unwrap()).await.status, 200);
    let history = caller.get("/accounts/alice/transactions").await.assert(200);
    let history = history["transactions"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    history.iter().for_each(|posting| assert_by(posting, &key));
    let movements = caller.get("/inventory/products/cup/movements").await.assert(200);
    let movements = movements["movements"].as_array().unwrap();
    assert_eq!(movements.len(), 3);
    movements.iter().for_each(|movement| assert_by(movement, &key));
    assert_eq!(movements[0]["reference"], "r");
    assert_eq!(movements[1]["customer_id"], "carol");
    // Nobody has ended what has expired.
    caller.advance_ms(3_600_000);
    caller.reserve("cup", 1, 1000).await.assert(201);
    let movements = caller.get("/inventory/products/cup/movements").await.assert(200);
    assert_eq!(movements["movements"][1]["reason"], "expired");
    assert!(movements["movements"][1]["actor"].is_null());
}

#[tokio::test]
async fn a_lock_is_held_by_somebody() {
    let root = Service::with_keys().await;
    let (key, caller) = named(&root, "worker").await;
    let metadata = json!({ "lock": "l", "owner": "w", "metadata": { "a": "b" } });
    let lease = caller.post("/locks", metadata).await.assert(201);
    assert_eq!(lease["metadata"], json!({ "a": "b" }));
    let lock = caller.get("/locks/l").await.assert(200);
    assert_by(&lock["holders"][0], &key);
    assert_eq!(lock["holders"][0]["metadata"], json!({ "a": "b" }));
    let renew = json!({ "lock": "l", "lease_id": lease["lease_id"], "ttl_ms": 90_000 });
    assert_eq!(
        caller.post("/locks/renew", renew).await.assert(200)["metadata"],
        json!({ "a": "b" })
    );
    let held = caller.acquire("l", "other", 1000).await.expect_problem(409, "lock_held");
    assert_by(&held["holders"][0], &key);
}

#[tokio::test]
async fn a_failure_names_the_key() {
    let root = Service::with_keys().await;
    let (key, caller) = named(&root, "till").await;
    caller.get("/accounts/nobody").await.expect_problem(404, "account_not_found");
    let reader = root.as_caller(&root.make_key(&["accounts:read"], &["*"]).await);
    reader.deposit("alice", "1").await.expect_problem(403, "insufficient_scope");
    // A stranger pushes nothing out of the list.
    caller.get("/accounts/alice").without_caller_key().await.expect_problem(401, "unauthenticated");
    let failures = caller.statistics.take_failures();
    assert_eq!(failures.len(), 2);
    let named = |index: usize| failures[index].actor.clone().unwrap();
    assert_eq!(named(0), (text(&key, "key_id").to_owned(), "till".to_owned()));
    assert_eq!(named(1).1, "test");
}

/// Without keys, nothing of this is written or answered: the records are those of before.
#[tokio::test]
async fn a_service_without_keys_names_nobody() {
    let service = Service::new();
    service.open("alice", "9").await;
    service.acquire("l", "w", 60_000).await.assert(201);
    let history = service.get("/accounts/alice/transactions").await.assert(200);
    let lock = service.get("/locks/l").await.assert(200);
    for part in [&history["transactions"][0], &lock["holders"][0]] {
        assert!(part.get("actor").is_none() && part.get("actor_name").is_none(), "{part:#}");
    }
}
