//! What the service says about itself.

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use lockstep::{
    api::{Limits, ShutdownGate},
    app,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Answer, Server, Service};

#[tokio::test]
async fn every_problem_code_is_explained() {
    let service = Service::new();
    let all = service.get("/problems").await.assert(200);
    for code in app::problem_codes() {
        let one = service.get(&format!("/problems/{}", code.code)).await.assert(200);
        assert_eq!((&one["code"], &one["status"]), (&json!(code.code), &json!(code.status)));
        assert!(all["problems"].as_array().unwrap().contains(&one));
    }
}

#[tokio::test]
async fn lives_and_is_ready() {
    let service = Service::new();
    assert_eq!(service.get("/livez").await.assert(200), json!({ "status": "ok" }));
    assert_eq!(service.get("/readyz").await.assert(200), json!({ "status": "ok" }));
    let away = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", crate::support::free_port());
    });
    away.get("/livez").await.assert(200);
    let refused = away.get("/readyz").await.expect_problem(503, "store_unavailable");
    assert_eq!((&refused["outcome"], &refused["retryable"]), (&json!("not_applied"), &json!(true)));
    let answer = away.transfer("a", "b", "1").await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.expect_problem(503, "store_unavailable");
}

#[tokio::test]
async fn counts_what_it_does() {
    // On a server that nobody else has loaded a script into.
    let server = Server::start(&[]);
    let service = Service::alone(&server);
    service.open("alice", "1").await;
    service.transfer("alice", "alice", "1").await.expect_problem(422, "same_account");
    let body = json!({
        "product_id": "cup", "name": "c", "price": "1", "initial_stock": 5, "low_stock": 5
    });
    service.post("/inventory/products", body).await.assert(201);
    service.reserve("cup", 1, 60_000).await.assert(201);
    let text = text(&service, "/metrics").await;
    for line in [
        "lockstep_http_request_duration_seconds_bucket{route=\"/accounts\",status=\"201\",le=\"5\"}",
        "lockstep_operation_duration_seconds_count{operation=\"accounts/open\",outcome=\"ok\"}",
        "lockstep_problems_total{code=\"same_account\"}",
        "lockstep_coalesced_steps_sum",
        "lockstep_low_stock_crossings_total{direction=\"below\"}",
        "lockstep_script_loads_total{operation=\"accounts/open\"}",
        "lockstep_store_connections_total",
        "lockstep_store_pool_connections{state=\"idle\"}",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_of_that_request_alone() {
    let router = axum::Router::new()
        .route("/panics", axum::routing::get(async || -> &'static str { panic!("on purpose") }))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            lockstep::api::middleware::panicked,
        ))
        .layer(axum::middleware::from_fn_with_state(
            ShutdownGate::default(),
            lockstep::api::middleware::handle,
        ));
    let mut service = Service::new();
    service.set_router(router);
    for _ in 0..2 {
        let refused = service.get("/panics").await.expect_problem(500, "internal_error");
        assert!(!refused.to_string().contains("on purpose"));
    }
}

async fn text(service: &Service, path: &str) -> String {
    let router = service.router();
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    assert!(response.status().is_success(), "{path}");
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn shows_its_documents_under_any_base_path() {
    let service = Service::new();
    assert!(text(&service, "/docs/").await.contains("swagger-ui"));
    let document = service.get("/openapi.json").await.assert(200);
    assert_eq!(document, app::document(""));

    let shape = app::Settings { base_path: "/money".to_owned(), body_limit_bytes: 1000 };
    let mut based = service.clone();
    based.set_router(app::app(service.store.clone(), ShutdownGate::new(Limits::default()), &shape));
    let document = based.get("/money/openapi.json").await.assert(200);
    assert_eq!(document["servers"], json!([{ "url": "/money" }]));
    assert!(
        text(&based, "/money/docs/swagger-initializer.js").await.contains("/money/openapi.json")
    );
    based.get("/money/livez").await.assert(200);
    for path in ["/livez", "/money/nope"] {
        let refused = based.get(path).await;
        assert_eq!(refused.status, 404);
        assert_eq!(refused.body["code"], "route_not_found");
        assert_eq!(refused.body["type"], "/money/problems/route_not_found");
    }
    based.get("/money/problems/route_not_found").await.assert(200);
}

/// Every example of the document is a call that works, and its answer has the fields of the example.
#[tokio::test]
async fn the_examples_of_the_document_work() {
    let one = Service::new();
    let document = app::document("");
    let schema = |content: &Value| {
        let kinds = ["application/json", "application/x-ndjson"];
        let kind = kinds.iter().find(|kind| content.get(kind).is_some())?;
        let reference = content[kind]["schema"]["$ref"].as_str()?;
        Some(document["components"]["schemas"][reference.rsplit('/').next()?]["example"].clone())
    };
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let service = one.in_new_space();
            let opening = ["/accounts", "/inventory/products", "/locks"].contains(&path.as_str());
            let named = prepared(&service, !opening).await;
            let place = format!("{method} {path}");
            let path = named(path);
            let body = schema(&operation["requestBody"]["content"]);
            let body = body.map(|body| serde_json::from_str(&named(&body.to_string())).unwrap());
            let answer = match (method.as_str(), body) {
                ("post", Some(body)) if path == "/bulk" => one_line(&service, &body).await,
                ("post", Some(body)) => service.post(&path, body).await,
                ("patch", Some(body)) => service.patch(&path, body, &[]).await,
                ("get", None) => service.get(&path).await,
                ("delete", None) => service.delete(&path, &[]).await,
                other => panic!("{other:?}"),
            };
            assert!(answer.status.is_success(), "{place}: {:#}", answer.body);
            let response = &operation["responses"][answer.status.as_str()];
            assert!(response.is_object(), "{place} does not say {}", answer.status);
            if let Some(Value::Object(example)) = schema(&response["content"]) {
                let told = answer.body.as_object().unwrap();
                let missing: Vec<_> =
                    example.keys().filter(|field| !told.contains_key(*field)).collect();
                assert!(missing.is_empty(), "{place} does not tell {missing:?}");
            }
            tried += 1;
        }
    }
    assert!(tried > 30);
}

/// A stream of one line; its result is the whole answer.
async fn one_line(service: &Service, line: &Value) -> Answer {
    let headers = [("content-type", "application/x-ndjson"), ("lockstep-space", &service.space)];
    let request =
        headers.iter().fold(Request::post("/bulk"), |it, (name, value)| it.header(*name, *value));
    service.send(request.body(Body::from(line.to_string())).unwrap()).await
}

/// A space with what the examples speak of, and how its minted ids come into the places of theirs.
async fn prepared(service: &Service, all: bool) -> impl Fn(&str) -> String + use<> {
    let mut places = vec![
        ("{account_id}", "alice".to_owned()),
        ("{product_id}", "espresso-cup".to_owned()),
        ("{customer_id}", "carol".to_owned()),
        ("{lock}", "nightly-report".to_owned()),
        ("{counter}", "downloads".to_owned()),
        ("{code}", "overloaded".to_owned()),
    ];
    if all {
        service.open("alice", "500").await;
        service.open("bob", "200").await;
        service.open("hotel", "0").await;
        service.add_product("espresso-cup", 100).await;
        let id = |answer: Value, name: &str| answer[name].as_str().unwrap().to_owned();
        let paid = service.transfer("alice", "bob", "2.50").await.assert(201);
        let transaction_id = id(paid, "transaction_id");
        let hold_id = service.held("bob", "hotel", "120").await;
        service.increment("seats-left", 48).await.assert(200);
        let body = json!({ "values": { "balance": "42" } });
        service.post("/batch/set", body).await.assert(200);
        let lease = service.acquire("nightly-report", "worker-7", 60_000).await.assert(201);
        let reservation = service.reserve("espresso-cup", 1, 60_000).await.assert(201);
        let reservation_id = id(reservation, "reservation_id");
        places.extend([
            ("{transaction_id}", transaction_id.clone()),
            ("tx_0199f6c28f7a7c319d4e52a1b7f0c6aa", transaction_id),
            ("{hold_id}", hold_id.clone()),
            ("hold_0199f6c28f7a7c319d4e52a1b7f0c6aa", hold_id),
            ("lease_0199f6c28f7a7c319d4e52a1b7f0c6aa", id(lease, "lease_id")),
            ("{reservation_id}", reservation_id.clone()),
            ("res_0199f6c28f7a7c319d4e52a1b7f0c6aa", reservation_id),
        ]);
    }
    move |text| places.iter().fold(text.to_owned(), |text, (place, id)| text.replace(place, id))
}
