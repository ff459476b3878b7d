//! `POST /keys`.

use redis::Commands;
use serde_json::json;

use super::text;
use crate::support::{Service, all_keys, race};

#[tokio::test]
async fn a_key_works_at_once_and_is_told_once() {
    let service = Service::with_keys().await;
    let body = json!({
        "name": "check\"out ü", "scopes": ["accounts:write", "accounts:read"],
        "spaces": [service.space], "expires_at": "2999-01-31T12:00:00Z"
    });
    let answer = service.post("/keys", body).await;
    let place = answer.header("location").unwrap().to_owned();
    let made = answer.assert(201);
    let key = text(&made, "key").to_owned();
    assert!(key.starts_with(&format!("lsk_{}_", text(&made, "key_id"))), "{key}");
    assert_eq!(made["name"], "check\"out ü");
    assert_eq!(made["expires_at"], "2999-01-31T12:00:00.000Z");
    assert_eq!((&made["last_used_at"], &made["revoked_at"]), (&json!(null), &json!(null)));
    service.as_caller(&key).open("alice", "1").await;
    let read = service.get(&place).await.assert(200);
    assert!(read["key"].is_null());
    assert_eq!((&read["scopes"], &read["spaces"]), (&made["scopes"], &made["spaces"]));
    // Neither the key nor its secret is anywhere in the space.
    let connection = &mut service.raw();
    for name in all_keys(connection, &format!("lockstep:{{{}}}:*", service.space)) {
        let kind: String = redis::cmd("TYPE").arg(&name).query(connection).unwrap();
        if kind == "string" {
            let content: Vec<u8> = connection.get(&name).unwrap();
            let content = String::from_utf8_lossy(&content);
            assert!(!content.contains(&key[17..]), "{name}: {content}");
        }
    }
}

#[tokio::test]
async fn a_repeat_answers_the_same_key_without_its_text() {
    let service = Service::with_keys().await;
    let body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
    let answers = race(8, |_| service.post("/keys", body.clone()).key("k")).await;
    assert_eq!((answers.count(201), answers.replayed()), (8, 7));
    let told = answers.iter().filter(|answer| answer.body["key"].is_string()).count();
    assert_eq!(told, 1);
    assert!(answers.iter().all(|answer| answer.body["key_id"] == answers[0].body["key_id"]));
    let all = service.get("/keys").await.assert(200);
    assert_eq!(all["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bad_input_is_refused() {
    let service = Service::with_keys().await;
    let before = service.snapshot();
    for (change, code, pointer) in [
        (json!({ "name": "" }), "validation_failed", "/name"),
        (json!({ "name": "x".repeat(65) }), "validation_failed", "/name"),
        (json!({ "name": "a\nb" }), "validation_failed", "/name"),
        (json!({ "scopes": [] }), "validation_failed", "/scopes"),
        (json!({ "scopes": ["accounts:write", "nope"] }), "validation_failed", "/scopes/1"),
        (json!({ "scopes": ["accounts:*"] }), "validation_failed", "/scopes/0"),
        (json!({ "scopes": ["accounts_transfer"] }), "validation_failed", "/scopes/0"),
        (json!({ "scopes": ["monitoring/livez"] }), "validation_failed", "/scopes/0"),
        (json!({ "scopes": vec!["*"; 65] }), "validation_failed", "/scopes"),
        (json!({ "spaces": [] }), "validation_failed", "/spaces"),
        (json!({ "spaces": ["main", "a b"] }), "invalid_id", "/spaces/1"),
        (json!({ "spaces": ["a*b"] }), "invalid_id", "/spaces/0"),
        (json!({ "spaces": ["$keys"] }), "invalid_id", "/spaces/0"),
        (json!({ "expires_at": "tomorrow" }), "validation_failed", "/expires_at"),
        (json!({ "secret": "x" }), "unknown_field", "/secret"),
    ] {
        let mut body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let refused = service.post("/keys", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{change}");
    }
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn the_number_of_keys_is_bounded() {
    let service = Service::with_keys().await;
    let mut filling = redis::cmd("ZADD");
    filling.arg(service.key("index", "caller_keys"));
    for number in 0..9999 {
        filling.arg(0).arg(format!("none{number}"));
    }
    filling.exec(&mut service.raw()).unwrap();
    let body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
    let answers = race(4, |_| service.post("/keys", body.clone())).await;
    assert_eq!((answers.count(201), answers.count_code("too_many_keys")), (1, 3));
}

#[tokio::test]
async fn a_service_without_a_root_key_has_no_keys() {
    let service = Service::new();
    let body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
    service.post("/keys", body).await.expect_problem(409, "keys_disabled");
    service.get("/keys").await.expect_problem(409, "keys_disabled");
    service.get("/keys/self").await.expect_problem(409, "keys_disabled");
}
