//! `POST /keys/revoke`.

use serde_json::json;

use super::{made, text};
use crate::support::Service;

#[tokio::test]
async fn a_revoked_key_is_refused_and_can_be_read_for_90_days() {
    let service = Service::with_keys().await;
    let made = made(&service).await;
    let id = text(&made, "key_id");
    let caller = service.as_caller(text(&made, "key"));
    caller.open("alice", "1").await;
    let body = json!({ "key_id": id });
    let revoked = service.post("/keys/revoke", body.clone()).await.assert(200);
    assert!(revoked["revoked_at"].is_string());
    caller.get("/accounts/alice").await.expect_problem(401, "unauthenticated");
    assert_eq!(service.post("/keys/revoke", body).await.assert(200), revoked);
    let ttl: i64 =
        redis::cmd("PTTL").arg(service.key("caller_key", id)).query(&mut service.raw()).unwrap();
    assert!((7_775_000_000..=7_776_000_000).contains(&ttl), "{ttl}");
    assert_eq!(service.get(&format!("/keys/{id}")).await.assert(200), revoked);
    let unknown = json!({ "key_id": "000000000000" });
    service.post("/keys/revoke", unknown).await.expect_problem(404, "key_not_found");
}

/// A stream can last for longer than its key.
#[tokio::test]
async fn the_lines_of_a_stream_are_refused_from_then_on() {
    use axum::body::{Body, Bytes};
    use http_body_util::{BodyExt, channel::Channel};
    use tower::ServiceExt;

    let service = Service::with_keys().await;
    let made = made(&service).await;
    let line = "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"c\"}}\n";
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let request = axum::http::Request::post("/bulk")
        .header("host", "lockstep")
        .header("content-type", "application/x-ndjson")
        .header("lockstep-space", &service.space)
        .header("authorization", format!("Bearer {}", text(&made, "key")))
        .body(Body::new(body))
        .unwrap();
    let answering = tokio::spawn(service.router().oneshot(request));
    sender.send_data(line.into()).await.unwrap();
    let mut results = answering.await.unwrap().unwrap().into_body();
    let first = results.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"status\":200"), "{first:?}");
    service.post("/keys/revoke", json!({ "key_id": made["key_id"] })).await.assert(200);
    sender.send_data(line.into()).await.unwrap();
    drop(sender);
    let second = results.collect().await.unwrap().to_bytes();
    let second = String::from_utf8_lossy(&second).into_owned();
    assert!(second.contains("\"status\":401") && second.contains("unauthenticated"), "{second}");
}
