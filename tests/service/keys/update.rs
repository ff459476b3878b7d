//! `PATCH /keys/{key_id}`.

use serde_json::json;

use super::{made, text};
use crate::support::Service;

#[tokio::test]
async fn what_a_key_may_do_changes_at_once() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let path = format!("/keys/{}", text(&made, "key_id"));
    let caller = service.as_caller(text(&made, "key"));
    caller.open("alice", "1").await;
    let change = json!({ "scopes": ["accounts:read"], "name": "reader" });
    let changed = service.patch(&path, change).await.assert(200);
    assert_eq!((&changed["name"], &changed["spaces"][0]), (&"reader".into(), &"*".into()));
    let refused = caller.deposit("alice", "1").await.expect_problem(403, "insufficient_scope");
    assert_eq!(refused["required"], "accounts:write");
    caller.get("/accounts/alice").await.assert(200);
    service.patch(&path, json!({ "spaces": ["elsewhere"] })).await.assert(200);
    caller.get("/accounts/alice").await.expect_problem(403, "space_not_allowed");
    service.patch(&path, json!({ "spaces": ["*"], "disabled": true })).await.assert(200);
    caller.get("/accounts/alice").await.expect_problem(401, "unauthenticated");
    service.patch(&path, json!({ "disabled": false })).await.assert(200);
    caller.get("/accounts/alice").await.assert(200);
    service.patch(&path, json!({ "expires_at": "2001-01-01T00:00:00Z" })).await.assert(200);
    caller.get("/accounts/alice").await.expect_problem(401, "unauthenticated");
    let changed = service.patch(&path, json!({ "expires_at": null })).await.assert(200);
    assert!(changed["expires_at"].is_null());
    caller.get("/accounts/alice").await.assert(200);
}

#[tokio::test]
async fn bad_changes_are_refused() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let path = format!("/keys/{}", text(&made, "key_id"));
    let before = service.snapshot();
    for (body, code) in [
        (json!({ "name": null }), "validation_failed"),
        (json!({ "scopes": [] }), "validation_failed"),
        (json!({ "scopes": ["x"] }), "validation_failed"),
        (json!({ "spaces": ["a/b"] }), "invalid_id"),
        (json!({ "disabled": "yes" }), "validation_failed"),
        (json!({ "key_id": "x" }), "unknown_field"),
    ] {
        service.patch(&path, body).await.expect_problem(422, code);
    }
    service.assert_unchanged(&before);
    let body = json!({ "name": "x" });
    service.patch("/keys/000000000000", body).await.expect_problem(404, "key_not_found");
}

#[tokio::test]
async fn a_revoked_key_stays_revoked() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let id = text(&made, "key_id");
    service.post("/keys/revoke", json!({ "key_id": id })).await.assert(200);
    let before = service.snapshot();
    let change = service.patch(&format!("/keys/{id}"), json!({ "disabled": false })).await;
    change.expect_problem(409, "key_revoked");
    service.assert_unchanged(&before);
}
