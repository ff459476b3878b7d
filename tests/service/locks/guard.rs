//! Guards: commands that have an effect only while a lock is held by the lease with the token that they
//! name.

use serde_json::json;

use super::{acquire, release};
use crate::support::{Service, operation};

fn guard(lock: &str, token: &serde_json::Value) -> String {
    format!("lock={lock};token={token}")
}

#[tokio::test]
async fn a_stale_holder_changes_nothing() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let first = acquire(&service, json!({ "ttl_ms": 86_400_000 })).await.assert(201);
    let own = guard("l", &first["fencing_token"]);
    let transfer = || service.transfer("alice", "bob", "1");
    transfer().header("lockstep-guard", &own).await.assert(201);
    service.advance_ms(86_400_000);
    let before = service.snapshot();
    let refused = transfer().header("lockstep-guard", &own).await;
    assert_eq!(refused.expect_problem(412, "lock_not_held")["lock"], "l");
    service.assert_unchanged(&before);
    let second = acquire(&service, json!({ "owner": "you" })).await.assert(201);
    let before = service.snapshot();
    let refused = transfer().header("lockstep-guard", &own).await;
    let refused = refused.expect_problem(412, "stale_fencing_token");
    assert_eq!(refused["fencing_token"], first["fencing_token"]);
    assert_eq!(refused["last_fencing_token"], second["fencing_token"]);
    service.assert_unchanged(&before);
    transfer().header("lockstep-guard", &guard("l", &second["fencing_token"])).await.assert(201);
    assert_eq!(service.balance("bob").await, "2.00");
}

#[tokio::test]
async fn all_guards_of_a_call_have_to_hold() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let a = acquire(&service, json!({ "lock": "a" })).await.assert(201);
    let b = acquire(&service, json!({ "lock": "b" })).await.assert(201);
    let (a, b) = (guard("a", &a["fencing_token"]), guard("b", &b["fencing_token"]));
    let transfer = || service.transfer("alice", "bob", "1");
    transfer().header("lockstep-guard", &a).header("lockstep-guard", &b).await.assert(201);
    transfer().header("lockstep-guard", &format!("{b} , {a}")).await.assert(201);
    let swapped = a.replace("lock=a", "lock=b");
    transfer()
        .header("lockstep-guard", &a)
        .header("lockstep-guard", &swapped)
        .await
        .expect_problem(412, "stale_fencing_token");
    assert_eq!(service.balance("bob").await, "2.00");
}

#[tokio::test]
async fn a_repeat_under_a_key_answers_before_the_guard() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    let first = acquire(&service, json!({})).await.assert(201);
    let own = guard("l", &first["fencing_token"]);
    let transfer = || service.transfer("alice", "bob", "1").key("k");
    let paid = transfer().header("lockstep-guard", &own).await.assert(201);
    release(&service, "l", &first["lease_id"]).await.assert(200);
    let again = transfer().header("lockstep-guard", &own).await;
    assert!(again.replayed());
    assert_eq!(again.assert(201), paid);
    // The same call with the token of another lease, or without a guard, is the same call.
    let second = acquire(&service, json!({})).await.assert(201);
    let other = guard("l", &second["fencing_token"]);
    assert!(transfer().header("lockstep-guard", &other).await.replayed());
    assert!(transfer().await.replayed());
    assert_eq!(service.balance("bob").await, "1.00");
}

#[tokio::test]
async fn several_commands_share_the_guard_of_their_call() {
    let service = Service::new();
    service.open("alice", "10").await;
    let lease = acquire(&service, json!({})).await.assert(201);
    let own = guard("l", &lease["fencing_token"]);
    let body = [
        operation("accounts/withdraw", json!({ "account_id": "alice", "amount": "1" })),
        operation("locks/release", json!({ "lock": "l", "lease_id": lease["lease_id"] })),
    ];
    let call = || service.atomic(&body).header("lockstep-guard", &own);
    let answer = call().await.assert(200);
    assert_eq!(answer["results"][1]["body"]["released"], true);
    let before = service.snapshot();
    let refused = call().await.expect_problem(412, "lock_not_held");
    assert!(refused["operation_index"].is_null());
    service.assert_unchanged(&before);
    assert_eq!(service.balance("alice").await, "9.00");
}

#[tokio::test]
async fn lines_of_a_stream_have_guards_of_their_own() {
    let service = Service::new();
    service.open("alice", "10").await;
    let lease = acquire(&service, json!({})).await.assert(201);
    let line = |guards: serde_json::Value| {
        json!({
            "operation": "accounts/withdraw",
            "input": { "account_id": "alice", "amount": "1" },
            "guards": guards
        })
        .to_string()
    };
    let own = json!({ "lock": "l", "fencing_token": lease["fencing_token"] });
    let lines = [
        line(json!([own])),
        line(json!([{ "lock": "l", "fencing_token": 7 }])),
        line(json!([own, { "lock": "other", "fencing_token": 7 }])),
        line(json!([])),
        line(json!([{ "lock": "l", "fencing_token": 0 }])),
        line(json!([{ "lock": "a/b", "fencing_token": 1 }])),
        line(json!([["l", 7]])),
        line(json!(vec![own.clone(); 17])),
    ];
    let request = axum::http::Request::post("/bulk")
        .header("content-type", "application/x-ndjson")
        .header("lockstep-space", &service.space)
        .body(axum::body::Body::from(lines.join("\n")))
        .unwrap();
    let answer = service.send(request).await;
    let results: Vec<serde_json::Value> = answer
        .bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let codes: Vec<_> = results
        .iter()
        .map(|result| (result["status"].as_u64().unwrap(), &result["body"]["code"]))
        .collect();
    assert_eq!(
        codes,
        [
            (201, &json!(null)),
            (412, &json!("stale_fencing_token")),
            (412, &json!("lock_not_held")),
            (201, &json!(null)),
            (422, &json!("validation_failed")),
            (422, &json!("invalid_id")),
            (422, &json!("validation_failed")),
            (422, &json!("validation_failed")),
        ]
    );
    assert_eq!(results[4]["body"]["errors"][0]["pointer"], "/guards/0/fencing_token");
    assert_eq!(service.balance("alice").await, "8.00");
}

#[tokio::test]
async fn data_keys_are_guarded_too() {
    let service = Service::new();
    let lease = acquire(&service, json!({})).await.assert(201);
    let own = guard("l", &lease["fencing_token"]);
    let operations = json!([{ "type": "incr", "key": "n", "by": 1 }]);
    let calls = || {
        [
            ("/batch", json!({ "operations": operations })),
            ("/batch/set", json!({ "values": { "n": "1" } })),
            ("/transactions", json!({ "operations": operations })),
            ("/transactions", json!({ "operations": operations, "watch": ["n"] })),
        ]
        .map(|(path, body)| service.post(path, body))
    };
    for call in calls() {
        call.header("lockstep-guard", &own).await.assert(200);
    }
    let read = service.post("/batch/get", json!({ "keys": ["n"] }));
    assert_eq!(read.clone().header("lockstep-guard", &own).await.assert(200)["values"]["n"], "3");
    for call in calls() {
        let call = call.header("lockstep-guard", "lock=l;token=5");
        call.await.expect_problem(412, "stale_fencing_token");
        release(&service, "other", &lease["lease_id"]).await.expect_problem(403, "lease_not_owner");
    }
    assert_eq!(read.await.assert(200)["values"]["n"], "3");
}

#[tokio::test]
async fn bad_guards_are_refused() {
    let service = Service::new();
    for (value, code) in [
        ("", "validation_failed"),
        ("l", "validation_failed"),
        ("lock=l", "validation_failed"),
        ("token=1", "validation_failed"),
        ("lock=l;token=1;token=2", "validation_failed"),
        ("lock=l;token=1;x=2", "validation_failed"),
        ("lock=l;token=x", "validation_failed"),
        ("lock=l;token=0", "validation_failed"),
        ("lock=l;token=+1", "validation_failed"),
        ("lock=l;token=1e3", "validation_failed"),
        ("lock=l;token=9007199254740992", "validation_failed"),
        ("lock=l;token=99999999999999999999", "validation_failed"),
        ("lock=a b;token=1", "invalid_id"),
        ("lock={l};token=1", "invalid_id"),
        ("lock=l;token=1,", "validation_failed"),
    ] {
        let answer = service.increment("c", 1).header("lockstep-guard", value).await;
        let refused = answer.expect_problem(422, code);
        assert_eq!(refused["header"], "Lockstep-Guard", "{value}");
        assert_eq!(refused["errors"][0]["header"], "Lockstep-Guard", "{value}");
    }
    let many = vec!["lock=l;token=1"; 17].join(",");
    let answer = service.increment("c", 1).header("lockstep-guard", &many).await;
    answer.expect_problem(422, "validation_failed");
    assert!(service.snapshot().is_empty());
}
