//! Tests of `POST /bulk`: a stream of commands, a line each.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response},
};
use futures_util::poll;
use http_body_util::{
    BodyExt,
    channel::{Channel, Sender},
};
use lockstep::{
    api::{Limits, ShutdownGate},
    app::{self, app},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

use crate::{
    audit::Audit,
    support::{Process, Server, Service, operation, redis_url, seed, unique, wait_for},
};

fn request(space: &str, body: Body) -> Request<Body> {
    Request::post("/bulk")
        .header("host", "x")
        .header("content-type", "application/x-ndjson")
        .header("lockstep-space", space)
        .body(body)
        .unwrap()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Sends a whole stream, and returns its results.
async fn bulk(service: &Service, body: impl Into<Body>) -> Vec<Value> {
    let response = service.router().oneshot(request(&service.space, body.into())).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    results(&bytes)
}

fn results(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let results: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result["index"], number, "in order, none missing");
    }
    results
}

fn statuses(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

fn transfer(from: &str, to: &str, amount: &str) -> Value {
    let input = json!({ "from_account": from, "to_account": to, "amount": amount });
    json!({ "operation": "accounts/transfer", "input": input })
}

fn increment(counter: &str) -> Value {
    json!({ "operation": "counters/increment", "input": { "counter": counter } })
}

/// A stream whose lines a test sends and whose results it reads one by one.
struct Open {
    lines: Sender<Bytes>,
    answers: Body,
}

impl Open {
    async fn new(router: Router, space: &str) -> Open {
        let (lines, body) = Channel::new(1);
        let response: Response<Body> =
            router.oneshot(request(space, Body::new(body))).await.unwrap();
        Open { lines, answers: response.into_body() }
    }

    async fn send(&mut self, line: &Value) -> bool {
        self.lines.send_data(Bytes::from(format!("{line}\n"))).await.is_ok()
    }

    /// The next part of the answer; `None` at its end.
    async fn read(&mut self) -> Option<Bytes> {
        let frame = self.answers.frame().await?.unwrap();
        Some(frame.into_data().unwrap())
    }
}

/// The router of the same service with a short timeout, and with a shutdown gate of its own.
fn with_timeout(service: &Service, limit: Duration) -> (Router, ShutdownGate) {
    let gate = ShutdownGate::new(Limits { body_timeout: limit, ..Limits::default() });
    let shape = app::RouterSettings {
        base_path: String::new(),
        body_limit_bytes: 262_144,
        ..app::RouterSettings::default()
    };
    (app(service.store.clone(), gate.clone(), &shape), gate)
}

#[tokio::test]
async fn each_result_equals_the_answer_of_its_own_endpoint() {
    let service = Service::new();
    let lines = [
        json!({ "operation": "accounts/open", "input": { "account_id": "alice", "initial_balance": "10" } }),
        json!({ "operation": "accounts/open", "input": { "account_id": "bob" } }),
        transfer("alice", "bob", "2.50"),
        transfer("alice", "bob", "1000"),
        transfer("alice", "nobody", "1"),
        json!({ "operation": "inventory/add_product", "input": {
            "product_id": "cup", "name": "c", "price": "1", "initial_stock": 1
        } }),
        json!({ "operation": "inventory/reserve", "input": {
            "customer_id": "c", "product_id": "cup", "quantity": 1
        } }),
        json!({ "operation": "ratelimit/check", "input": {
            "key": "k", "algorithm": "sliding_window", "limit": 1, "window_ms": 60_000
        } }),
        json!({ "operation": "ratelimit/check", "input": {
            "key": "k", "algorithm": "sliding_window", "limit": 1, "window_ms": 60_000, "on_deny": "200"
        } }),
        increment("n"),
    ];
    let results = bulk(&service, text(&lines)).await;
    assert_eq!(statuses(&results), [201, 201, 201, 409, 404, 201, 201, 200, 200, 200]);
    assert_eq!(results[2]["body"]["from_balance"], "7.50");
    assert_eq!(results[3]["body"]["code"], "insufficient_funds");
    assert_eq!(results[3]["body"]["available"], "7.50");
    assert_eq!(results[3]["body"]["request_id"].as_str().unwrap().len(), 36);
    assert_eq!(results[4]["body"]["role"], "to_account");
    assert_eq!(results[7]["body"]["allowed"], true);
    assert_eq!(results[8]["body"]["allowed"], false);
    assert_eq!(results[9]["body"]["value"], 1);
    assert_eq!(service.balance("bob").await, "2.50");
    assert_eq!(service.sum("USD"), 0);
}

#[tokio::test]
async fn an_invalid_line_is_refused_and_the_others_run() {
    let service = Service::new();
    let long = format!("{{\"operation\":\"{}\"}}", "x".repeat(70_000));
    let body = [
        &increment("n").to_string(),
        "",
        "   \r",
        "nonsense",
        "[1]",
        "{\"operation\":\"counters/increment\"}",
        "{\"operation\":\"counters/incremen\",\"input\":{}}",
        "{\"operation\":\"locks/get\",\"input\":{}}",
        "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"n\",\"by\":0}}",
        "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"n\",\"bye\":1}}",
        "{\"operation\":\"counters/increment\",\"input\":[],\"idempotency_key\":\"k\"}",
        "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"n\"},\"more\":1}",
        "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"n\"},\"idempotency_key\":\"\"}",
        "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"n\"},\"idempotency_key\":\"a b\"}",
        "{\"operation\":\"counters/increment\",\"input\":{\"counter\":\"\u{1}\"}}",
        &long,
        // The last line needs no newline.
        &increment("n").to_string(),
    ]
    .join("\n");
    let results = bulk(&service, body).await;
    let seen: Vec<(u64, &str, &str)> = results
        .iter()
        .map(|result| {
            let body = &result["body"];
            let pointer = body["errors"][0]["pointer"].as_str().unwrap_or_default();
            (result["status"].as_u64().unwrap(), body["code"].as_str().unwrap_or("ok"), pointer)
        })
        .collect();
    let expected = [
        (200, "ok", ""),
        (400, "malformed_json", ""),
        (422, "validation_failed", ""),
        (422, "validation_failed", "/input"),
        (422, "validation_failed", "/operation"),
        (422, "validation_failed", "/operation"),
        (422, "validation_failed", "/input/by"),
        (422, "unknown_field", "/input/bye"),
        (422, "validation_failed", "/input"),
        (422, "unknown_field", "/more"),
        (400, "idempotency_key_invalid", ""),
        (400, "idempotency_key_invalid", ""),
        (400, "malformed_json", ""),
        (413, "payload_too_large", ""),
        (200, "ok", ""),
    ];
    assert_eq!(seen, expected);
    assert_eq!(results.last().unwrap()["body"]["value"], 2);
}

#[tokio::test]
async fn a_line_that_is_not_utf_8_is_refused_and_the_others_run() {
    let service = Service::new();
    let mut body = b"{\"operation\":\"\xff\"}\n".to_vec();
    body.extend(increment("n").to_string().bytes());
    assert_eq!(statuses(&bulk(&service, body).await), [400, 200]);
    assert!(bulk(&service, "").await.is_empty());
    assert!(bulk(&service, "\n\n").await.is_empty());
}

#[tokio::test]
async fn a_body_that_is_no_stream_is_refused_at_once() {
    let service = Service::new();
    for (name, value, status, code) in [
        ("content-type", "application/json", 415, "unsupported_media_type"),
        ("idempotency-key", "k", 400, "idempotency_key_invalid"),
        ("lockstep-space", "{}", 422, "invalid_id"),
    ] {
        let mut request = request(&service.space, Body::from(text(&[increment("n")])));
        request.headers_mut().insert(name, value.parse().unwrap());
        service.send(request).await.expect_problem(status, code);
    }
    let request = Request::post("/bulk?x=1").header("content-type", "application/x-ndjson");
    service.send(request.body(Body::empty()).unwrap()).await.expect_problem(400, "invalid_query");
    for kind in ["application/ndjson", "application/jsonl; charset=utf-8", "APPLICATION/X-NDJSON"] {
        let mut request = request_of_nothing(&service.space);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        service.send(request).await.assert(200);
    }
}

fn request_of_nothing(space: &str) -> Request<Body> {
    request(space, Body::empty())
}

/// Each line sees the effects of the lines before it, whatever operations they are.
#[tokio::test]
async fn lines_run_in_their_order() {
    let service = Service::new();
    let mut lines = Vec::new();
    for round in 0..300 {
        let account = format!("a{round}");
        let open = json!({ "account_id": account });
        lines.push(json!({ "operation": "accounts/open", "input": open }));
        let deposit = json!({ "account_id": account, "amount": "3" });
        lines.push(json!({ "operation": "accounts/deposit", "input": deposit }));
        if round > 0 {
            lines.push(transfer(&account, &format!("a{}", round - 1), "2"));
        }
        let set = json!({ "counter": "last", "value": round, "if_value": (round - 1).max(0) });
        lines.push(json!({ "operation": "counters/set", "input": set }));
        lines.push(increment("n"));
    }
    let results = bulk(&service, text(&lines)).await;
    assert_eq!(results.len(), lines.len());
    for (line, result) in lines.iter().zip(&results) {
        assert!(result["status"].as_u64().unwrap() < 300, "{line}: {result}");
    }
    let counted: Vec<&Value> = results
        .iter()
        .zip(&lines)
        .filter(|(_, line)| line["operation"] == "counters/increment")
        .map(|(result, _)| &result["body"]["value"])
        .collect();
    assert_eq!(counted, (1..=300).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(service.balance("a299").await, "1.00");
    assert_eq!(service.balance("a7").await, "3.00");
}

/// Commands that first look up the account of their hold keep their place among those that do not.
#[tokio::test]
async fn lines_with_a_preceding_lookup_keep_their_order() {
    let service = Service::new();
    service.open("alice", "1000").await;
    service.open("bob", "0").await;
    let mut lines = Vec::new();
    for number in 0..200 {
        let hold_id = service.held("alice", "bob", "1").await;
        lines.push(operation("accounts/capture", json!({ "hold_id": hold_id, "amount": "1" })));
        let input = json!({ "counter": "chain", "value": number + 1, "if_value": number });
        lines.push(operation("counters/set", input));
        // The line before has just captured it.
        lines.push(operation("accounts/release", json!({ "hold_id": hold_id })));
        lines.push(json!({ "operation": "accounts/capture", "input": {} }));
    }
    let results = bulk(&service, text(&lines)).await;
    assert_eq!(statuses(&results), [201, 200, 409, 422].repeat(200));
    assert_eq!(service.balance("bob").await, "200.00");
}

/// A failed script is sent again step by step, and the lines of a stream are not among its steps.
#[tokio::test(flavor = "multi_thread")]
async fn lines_run_in_their_order_beside_failing_calls() {
    let service = Service::with(|settings| settings.batch_workers = 1);
    let refusing: Vec<_> = (0..4)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                let one = |by: i64| {
                    operation("counters/increment", json!({ "counter": "m", "by": by, "max": 5 }))
                };
                loop {
                    service
                        .atomic(&[one(1), one(9)])
                        .await
                        .expect_problem(409, "counter_limit_exceeded");
                }
            })
        })
        .collect();
    let lines: Vec<Value> = (1..=3000)
        .map(|value| {
            let input = json!({ "counter": "chain", "value": value, "if_value": value - 1 });
            operation("counters/set", input)
        })
        .collect();
    let results = bulk(&service, text(&lines)).await;
    assert_eq!(statuses(&results), vec![200; 3000]);
    refusing.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_answer_comes_while_the_stream_is_still_open() {
    let service = Service::new();
    let mut stream = Open::new(service.router(), &service.space).await;
    for round in 1..=5 {
        assert!(stream.send(&increment("n")).await);
        let result: Value = serde_json::from_slice(&stream.read().await.unwrap()).unwrap();
        assert_eq!(result["index"], round - 1);
        assert_eq!(result["body"]["value"], round);
    }
    drop(stream.lines);
    assert!(stream.answers.frame().await.is_none());
}

/// curl does this with a large file: it sends the body only after 100 Continue.
#[tokio::test]
async fn expect_100_continue_is_answered_at_once() {
    let process = Process::shared();
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    let line = increment("n").to_string();
    let head = format!(
        "POST /bulk HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
         lockstep-space: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        unique("asked-"),
        line.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(line.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.ends_with("0\r\n\r\n") {
        let mut part = [0; 1024];
        let size = stream.read(&mut part).await.unwrap();
        assert!(size > 0, "{text}");
        text += std::str::from_utf8(&part[..size]).unwrap();
    }
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("\"value\":1"), "{text}");
}

/// A client that reads no results is not read from: the number of lines in flight is bounded, however
/// long the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_stream() {
    let service = Service::new();
    let (router, _) = with_timeout(&service, Duration::from_millis(300));
    let mut stream = Open::new(router, &service.space).await;
    let mut sent = 0;
    // The test reads nothing, so at some point the service takes no more lines, and then ends the
    // stream.
    while stream.send(&increment("n")).await {
        sent += 1;
        assert!(sent < 20_000, "the service takes what it cannot hand on");
    }
    // The answer is cut off, so that a client does not take it for complete.
    let mut answers = stream.answers;
    let cut = loop {
        match answers.frame().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(cut.is_some_and(|frame| frame.is_err()));
    let counted = service.get("/counters/n").await.assert(200)["value"].as_u64().unwrap();
    assert!(counted <= sent, "{counted} of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_client_stops_the_stream() {
    let service = Service::new();
    service.open("alice", "1000000").await;
    service.open("bob", "0").await;
    let mut stream = Open::new(service.router(), &service.space).await;
    for _ in 0..50 {
        assert!(stream.send(&transfer("alice", "bob", "1")).await);
        stream.read().await.unwrap();
    }
    drop(stream.answers);
    let mut more = 0;
    let line = transfer("alice", "bob", "1").to_string();
    while stream.lines.send_data(Bytes::from(format!("{line}\n"))).await.is_ok() {
        more += 1;
        assert!(more < 5000, "nobody is left to be answered");
    }
    // Lines that had started are completed, and none starts afterwards.
    assert_eq!(service.sum("USD"), 0);
    let moved: f64 = service.balance("bob").await.parse().unwrap();
    assert!(moved >= 50.0 && moved <= f64::from(50 + more));
}

#[tokio::test]
async fn an_idle_stream_is_ended() {
    let service = Service::new();
    let (router, _) = with_timeout(&service, Duration::from_millis(100));
    let mut stream = Open::new(router, &service.space).await;
    assert!(stream.send(&increment("n")).await);
    let mut all = Vec::new();
    while let Some(part) = stream.read().await {
        all.extend_from_slice(&part);
    }
    let results = results(&all);
    assert_eq!(statuses(&results), [200, 408]);
    assert_eq!(results[1]["body"]["code"], "request_timeout");
}

#[tokio::test]
async fn shutdown_ends_the_stream_with_a_problem() {
    let service = Service::new();
    let (router, gate) = with_timeout(&service, Duration::from_secs(20));
    let mut stream = Open::new(router, &service.space).await;
    assert!(stream.send(&increment("n")).await);
    let mut all = stream.read().await.unwrap().to_vec();
    gate.close();
    let mut drained = Box::pin(gate.drained());
    // Its answer is not complete yet, and the shutdown waits for it.
    assert!(poll!(&mut drained).is_pending());
    while let Some(part) = stream.read().await {
        all.extend_from_slice(&part);
    }
    let results = results(&all);
    assert_eq!(statuses(&results), [200, 503]);
    assert_eq!(results[1]["body"]["code"], "shutting_down");
    drop(stream);
    drained.await;
}

/// A stream that was cut off is sent again unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_under_an_idempotency_key_happens_once() {
    let service = Service::new();
    service.open("alice", "1000").await;
    service.open("bob", "0").await;
    let mut lines: Vec<Value> = (0..200)
        .map(|number| {
            let mut line = transfer("alice", "bob", "1");
            line["idempotency_key"] = json!(format!("pay-{number}"));
            line
        })
        .collect();
    // The same key within one stream is a repeat too; another body under it is refused.
    lines.push(lines[0].clone());
    lines.push(json!({ "operation": "accounts/transfer", "idempotency_key": "pay-0",
        "input": { "from_account": "alice", "to_account": "bob", "amount": "2" } }));
    let body = text(&lines);
    let sends = (0..4).map(|_| {
        let (service, body) = (service.clone(), body.clone());
        tokio::spawn(async move { bulk(&service, body).await })
    });
    let mut all = Vec::new();
    for send in sends.collect::<Vec<_>>() {
        all.push(send.await.unwrap());
    }
    for results in &all {
        assert_eq!(statuses(&results[..201]), [201; 201]);
        assert_eq!(results[201]["body"]["code"], "idempotency_key_reused");
        assert_eq!(results[200]["replayed"], true);
        for (one, other) in results.iter().zip(&all[0]).take(201) {
            assert_eq!(one["body"], other["body"]);
        }
    }
    let first = |results: &Vec<Value>| {
        results[..200].iter().filter(|result| result.get("replayed").is_none()).count()
    };
    assert_eq!(all.iter().map(first).sum::<usize>(), 200);
    assert_eq!(service.balance("bob").await, "200.00");
}

#[tokio::test]
async fn a_foreign_record_fails_only_its_line() {
    let service = Service::new();
    service.open("alice", "1000").await;
    service.open("bob", "0").await;
    seed(&mut service.raw(), &service.key("account", "eve"), "string", "not an account");
    seed(&mut service.raw(), &service.key("counter", "odd"), "list", "x");
    let line = |number: usize| match number % 50 {
        7 => transfer("alice", "eve", "1"),
        8 => increment("odd"),
        _ => transfer("alice", "bob", "1"),
    };
    let lines: Vec<Value> = (0..400).map(line).collect();
    let results = bulk(&service, text(&lines)).await;
    for (number, result) in results.iter().enumerate() {
        let expected = if [7, 8].contains(&(number % 50)) { 500 } else { 201 };
        assert_eq!(result["status"], expected, "line {number}: {result}");
    }
    assert_eq!(service.balance("bob").await, "384.00");
}

/// There are more expired holds than one script reclaims: the line waits for them like a single call.
#[tokio::test]
async fn expired_holds_are_reclaimed_before_a_line_runs() {
    let server = Server::start(&[]);
    let service = Service::on_own_redis(&server);
    service.open("alice", "2000").await;
    service.open("bob", "0").await;
    let hold = |_| {
        json!({ "operation": "accounts/hold", "input": {
            "from_account": "alice", "to_account": "bob", "amount": "1", "ttl_ms": 1000
        } })
    };
    let lines: Vec<Value> = (0..2000).map(hold).collect();
    assert_eq!(statuses(&bulk(&service, text(&lines)).await), vec![201; 2000]);
    service.advance_ms(1001);
    let lines = [transfer("alice", "bob", "1999"), transfer("alice", "bob", "2")];
    assert_eq!(statuses(&bulk(&service, text(&lines)).await), [201, 409]);
    Audit::default().check(&service);
}

/// The service is killed in the middle of a stream, which is sent again unchanged until it is complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_loses_no_line_and_repeats_none() {
    let service = Service::new();
    service.open("alice", "5000").await;
    service.open("bob", "0").await;
    let lines: Vec<Value> = (0..1000)
        .map(|number| {
            let mut line = transfer("alice", "bob", "1");
            line["idempotency_key"] = json!(format!("{}-{number}", unique("k")));
            line
        })
        .collect();
    let body = text(&lines);
    for enough in [1, 200, 600] {
        let mut process = Process::start(&["--redis-url", redis_url()]);
        let sending = process.bulk(&service.space, body.clone());
        // So many lines have run, and the rest is in flight.
        wait_for_balance(&service, enough).await;
        process.kill();
        // There is no answer, or a part of it.
        let _ = sending.await;
    }
    let process = Process::shared();
    let results = results(&process.bulk(&service.space, body).await.unwrap().unwrap());
    assert_eq!(statuses(&results), vec![201; 1000]);
    assert!(results.iter().filter(|result| result["replayed"] == true).count() >= 600);
    assert_eq!(service.balance("bob").await, "1000.00");
    assert_eq!(service.sum("USD"), 0);
}

async fn wait_for_balance(service: &Service, at_least: u64) {
    let key = service.key("account", "bob");
    let mut connection = service.raw();
    tokio::task::spawn_blocking(move || {
        wait_for("some of the transfers", || {
            let record: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
            let record = lockstep::accounts::account_to_json(&record).unwrap();
            let credits: u64 = record["credits"].as_str().unwrap().parse().unwrap();
            (credits >= at_least * 100).then_some(())
        });
    })
    .await
    .unwrap();
}
