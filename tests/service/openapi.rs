//! Tests of the OpenAPI document, of metrics, of health checks and of the problem catalogue.

use std::io::Read;

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use lockstep::{
    api::{Limits, ShutdownGate},
    app,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    catalogue::{Seed, Seeded, catalogue},
    support::{Answer, Process, Server, Service, free_port},
};

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
async fn reports_liveness_and_readiness() {
    let service = Service::new();
    assert_eq!(service.get("/livez").await.assert(200), json!({ "status": "ok" }));
    assert_eq!(service.get("/readyz").await.assert(200), json!({ "status": "ok" }));
    let away = Service::with(|settings| {
        settings.url = format!("redis://127.0.0.1:{}", free_port());
    });
    away.get("/livez").await.assert(200);
    let refused = away.get("/readyz").await.expect_problem(503, "store_unavailable");
    assert_eq!((&refused["outcome"], &refused["retryable"]), (&json!("not_applied"), &json!(true)));
    let answer = away.transfer("a", "b", "1").await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.expect_problem(503, "store_unavailable");
}

#[tokio::test]
async fn metrics_count_requests_operations_and_problems() {
    // A process of its own, and a server into which no other test has loaded scripts.
    let server = Server::start(&[]);
    let process = Process::start(&["--redis-url", &server.url]);
    let post = async |path: &str, body: serde_json::Value| {
        process.post_once("main", path, &body).await.unwrap().status.as_u16()
    };
    assert_eq!(
        post("/accounts", json!({ "account_id": "alice", "initial_balance": "1" })).await,
        201
    );
    let to_oneself = json!({ "from_account": "alice", "to_account": "alice", "amount": "1" });
    assert_eq!(post("/accounts/transfer", to_oneself).await, 422);
    let body = json!({
        "product_id": "cup", "name": "c", "price": "1", "initial_stock": 5, "low_stock": 5
    });
    assert_eq!(post("/inventory/products", body).await, 201);
    let two =
        json!({ "customer_id": "carol", "product_id": "cup", "quantity": 1, "ttl_ms": 60_000 });
    assert_eq!(post("/inventory/reserve", two).await, 201);
    let text = process.get_text("/metrics").await;
    for line in [
        "lockstep_http_request_duration_seconds_bucket{method=\"POST\",route=\"/accounts\",status=\"201\",le=\"5\"}",
        "lockstep_operation_duration_seconds_count{operation=\"accounts/open\",outcome=\"ok\"}",
        "lockstep_problems_total{code=\"same_account\"}",
        "lockstep_coalesced_steps_sum",
        "lockstep_low_stock_crossings_total{direction=\"below\"}",
        "lockstep_script_loads_total{operation=\"accounts/open\"}",
        "lockstep_store_connections_total",
        "lockstep_store_pool_connections{pool=\"pool\",state=\"idle\"}",
        // Counters exist before their first event.
        "lockstep_problems_total{code=\"outcome_unknown\"} 0",
        "lockstep_torn_commits_total 0",
        "lockstep_swept_total{kind=\"account\"} 0",
        "lockstep_replays_total 0",
        "lockstep_store_reconnects_total{pool=\"worker-0\"} 0",
        "lockstep_http_requests_in_flight 1",
        "lockstep_store_queue_depth{worker=\"worker-0\"} 0",
        "lockstep_store_queue_limit{worker=\"worker-0\"} 8192",
        "lockstep_store_queue_bytes 0",
        "lockstep_store_queue_limit_bytes 67108864",
        "lockstep_redis_up 1",
        "lockstep_redis_memory_limit_bytes 0",
        concat!("lockstep_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "process_cpu_seconds_total",
        "process_open_fds",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_service_goes_on() {
    let router = axum::Router::new()
        .route("/panics", axum::routing::get(async || -> &'static str { panic!("on purpose") }))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            lockstep::api::middleware::panicked,
        ));
    let router = lockstep::api::middleware::around(router, ShutdownGate::default());
    let mut service = Service::new();
    service.set_router(router);
    for _ in 0..2 {
        let refused = service.get("/panics").await.expect_problem(500, "internal_error");
        assert!(!refused.to_string().contains("on purpose"));
    }
}

async fn text(service: &Service, path: &str) -> String {
    let router = service.router();
    let response = router
        .oneshot(Request::get(path).header("host", "x").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert!(response.status().is_success(), "{path}");
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn serves_its_documents_under_any_base_path() {
    let service = Service::new();
    assert!(text(&service, "/docs/").await.contains("<title>Lockstep</title>"));
    let mut document = service.get("/openapi.json").await.assert(200);
    assert_eq!(document["servers"], json!([{ "url": "." }]));
    document["servers"] = json!([{ "url": "/" }]);
    assert_eq!(document, app::document(""));

    let shape = app::RouterSettings {
        base_path: "/money".to_owned(),
        body_limit_bytes: 1000,
        ..app::RouterSettings::default()
    };
    let mut based = service.clone();
    based.set_router(app::app(service.store.clone(), ShutdownGate::new(Limits::default()), &shape));
    let document = based.get("/money/openapi.json").await.assert(200);
    assert_eq!(document["servers"], json!([{ "url": "." }]));
    let script = text(&based, "/money/docs/swagger-initializer.js").await;
    assert!(script.contains("\"../openapi.json\""));
    based.get("/money/livez").await.assert(200);
    for path in ["/livez", "/money/nope"] {
        let refused = based.get(path).await;
        assert_eq!(refused.status, 404);
        assert_eq!(refused.body["code"], "route_not_found");
        assert_eq!(refused.body["type"], "/money/problems/route_not_found");
    }
    based.get("/money/problems/route_not_found").await.assert(200);
}

/// The page and the document are compressed for those who understand it, and sent once.
#[tokio::test]
async fn serves_its_documents_compressed_and_with_a_validator() {
    let service = Service::new();
    for path in ["/openapi.json", "/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"] {
        let plain = service.get(path).await;
        assert_eq!(plain.header("content-encoding"), None);
        let compressed = service.get(path).header("accept-encoding", "br, gzip").await;
        assert_eq!(compressed.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(compressed.header("vary"), Some("accept-encoding"));
        assert_eq!(compressed.header("content-type"), plain.header("content-type"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*compressed.bytes).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain.bytes && compressed.bytes.len() < plain.bytes.len(), "{path}");

        let etag = plain.header("etag").unwrap().to_owned();
        assert_eq!(compressed.header("etag"), Some(etag.as_str()));
        let known = service.get(path).header("if-none-match", &format!("\"x\", {etag}")).await;
        assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0), "{path}");
        assert_eq!(known.header("etag"), Some(etag.as_str()));
        let other = service.get(path).header("if-none-match", "W/\"x\"").await;
        assert_eq!(other.status, 200, "{path}");
    }
    service.get("/docs/nope.js").await.expect_problem(404, "route_not_found");
}

/// Every example of the document is a call that works, and its answer has the fields of the example.
#[tokio::test]
async fn the_examples_of_the_document_work() {
    let service = Service::new();
    let document = app::document("");
    for entry in catalogue() {
        let seeds = if entry.needs.is_empty() { &[] } else { Seed::ALL.as_slice() };
        let seeded = Seeded::new(&service, seeds).await;
        let path = entry.path.split('?').next().unwrap();
        let described = &document["paths"][path][entry.method.to_lowercase()];
        let body = example(&document, &described["requestBody"]["content"]);
        let body: Value = serde_json::from_str(&with_places(&body.to_string())).unwrap();
        assert_answers_as_described(&document, described, seeded.call_with(&entry, &body).await);
    }
}

/// Swagger UI fills the example of a header into every call that is tried. One of a guard, of a key or of a version would
/// refuse calls whose bodies work.
#[test]
fn no_header_of_all_calls_has_an_example_but_the_space() {
    let document = app::document("");
    let shared = document["components"]["parameters"].as_object().unwrap();
    let with_example = shared.values().filter(|parameter| parameter.get("example").is_some());
    let names: Vec<_> = with_example.map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Lockstep-Space"]);
}

/// The same for the calls that are no operations, and for a stream.
#[tokio::test]
async fn the_examples_of_system_calls_work() {
    let document = app::document("");
    let seeded = Seeded::new(&Service::new(), &Seed::ALL).await;
    for path in ["/livez", "/readyz", "/metrics", "/problems", "/problems/{code}"] {
        let answer = seeded.service.get(&path.replace("{code}", "overloaded")).await;
        assert_answers_as_described(&document, &document["paths"][path]["get"], answer);
    }
    let described = &document["paths"]["/bulk"]["post"];
    // It works in a store that has nothing yet, and again in one that has seen it.
    let service = Service::new();
    let lines = &described["requestBody"]["content"]["application/x-ndjson"]["example"];
    for replayed in [false, true] {
        let request = Request::post("/bulk")
            .header("content-type", "application/x-ndjson")
            .header("lockstep-space", &service.space)
            .body(Body::from(lines.as_str().unwrap().to_owned()));
        let answer = service.send(request.unwrap()).await;
        let results = String::from_utf8(answer.bytes.clone()).unwrap();
        let results: Vec<Value> =
            results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(results.len(), lines.as_str().unwrap().lines().count());
        for result in &results {
            assert!(result["status"].as_u64().unwrap() < 300, "{result:#}");
            assert_eq!(result["replayed"] == true, replayed && result["index"] != 2, "{result:#}");
        }
        assert_answers_as_described(&document, described, answer);
    }
}

/// The example of a body, or null where the document gives none.
fn example(document: &Value, content: &Value) -> Value {
    let schema = content["application/json"]["schema"]["$ref"].as_str();
    let Some(name) = schema.and_then(|reference| reference.rsplit('/').next()) else {
        return Value::Null;
    };
    document["components"]["schemas"][name]["example"].clone()
}

/// A text of the document with a place for each id that it gives as an example, such as `{hold_id}`.
fn with_places(text: &str) -> String {
    let places = [
        ("tx_", "{transaction_id}"),
        ("hold_", "{hold_id}"),
        ("lease_", "{lease_id}"),
        ("res_", "{reservation_id}"),
    ];
    // The lease of a concurrency limit has its units behind the id.
    let text = text.replace("lease_0199f6c28f7a7c319d4e52a1b7f0c6aax1", "{limit_lease_id}");
    // The fencing token of the lease stands in the place of a text with this name.
    let text = text.replace("1769860800000000", "\"{fencing_token}\"");
    let text = text.replace("4fTzPq81LmXw", "{key_id}");
    let text = text.replace("lease_0199f6c28f7a7c319d4e52a1b7f0c6ab", "{lease_token}");
    places.iter().fold(text, |text, (prefix, place)| {
        text.replace(&format!("{prefix}0199f6c28f7a7c319d4e52a1b7f0c6aa"), place)
    })
}

/// Panics unless the document describes the status, and the answer has the fields of the example.
fn assert_answers_as_described(document: &Value, described: &Value, answer: Answer) {
    let name = &described["operationId"];
    assert!(answer.status.is_success(), "{name}: {:#}", answer.body);
    let response = &described["responses"][answer.status.as_str()];
    assert!(response.is_object(), "{name} does not describe {}", answer.status);
    if let Value::Object(example) = example(document, &response["content"]) {
        let body = answer.body.as_object().unwrap();
        let missing: Vec<_> = example.keys().filter(|field| !body.contains_key(*field)).collect();
        assert!(missing.is_empty(), "{name} has no {missing:?}");
    }
}
