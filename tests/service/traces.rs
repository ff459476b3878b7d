//! Tests of traces: spans from a request to the batch that carried it, at a collector that the test runs.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;
use rustix::process::Signal;
use serde_json::json;
use tracing::span::{Attributes, Id};
use tracing_subscriber::{EnvFilter, Layer, layer, layer::SubscriberExt};

use crate::support::{Process, Service, free_port, operation, redis_url, unique, wait_for};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector of OTLP over HTTP.
#[derive(Clone, Default)]
struct Collector {
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// Listens on a port of its own, and returns the endpoint.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let take = async |State(collector): State<Collector>, body: Bytes| {
            let export = ExportTraceServiceRequest::decode(body).unwrap();
            collector.exports.lock().unwrap().push(export);
            StatusCode::OK
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        resources
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.clone()?.value
}

fn text(span: &Span, name: &str) -> Option<String> {
    match attribute(span, name)? {
        Value::StringValue(text) => Some(text),
        other => panic!("{name}: {other:?}"),
    }
}

/// Sends a command with more headers than [`Process::post`] has, and returns the status.
fn send(process: &Process, path: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(&process.address).unwrap();
    let (address, length) = (&process.address, body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn headers(space: &str, traceparent: Option<&str>) -> String {
    let traceparent = traceparent.map(|value| format!("traceparent: {value}\r\n"));
    format!(
        "Content-Type: application/json\r\nLockstep-Space: {space}\r\n{}",
        traceparent.unwrap_or_default()
    )
}

fn end(mut process: Process) {
    process.signal(Signal::TERM);
    assert!(wait_for("the end", || process.try_wait()).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_lead_from_the_request_to_the_batch_that_carried_it() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let process = Process::start(&["--redis-url", redis_url(), "--otlp-endpoint", &endpoint]);
    let space = unique("traced-");
    let body = r#"{"account_id":"alice","initial_balance":"1234.56","metadata":{"card":"4111"}}"#;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(send(&process, "/accounts", &headers(&space, Some(&traceparent)), body), 201);
    // A caller who does not sample is not traced, and one without a trace gets one.
    let other_trace = TRACE.replace('4', "5");
    let unsampled = format!("00-{other_trace}-{PARENT}-00");
    assert_eq!(send(&process, "/accounts", &headers(&space, Some(&unsampled)), body), 409);
    assert_eq!(send(&process, "/accounts/deposit", &headers(&space, None), "{}"), 422);
    end(process);

    let spans = collector.spans();
    let of_trace: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let named = |name: &str| {
        let mut found = of_trace.iter().filter(|span| span.name == name);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {:?}", of_trace.iter().map(|span| &span.name)))
    };
    let request = named("POST /accounts");
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(request.kind, 2, "a server's span");
    assert_eq!(text(request, "http.route").as_deref(), Some("/accounts"));
    assert_eq!(attribute(request, "http.response.status_code"), Some(Value::IntValue(201)));
    let operation = named("accounts/open");
    assert_eq!(operation.parent_span_id, request.span_id);
    let batch = named("batch");
    assert_eq!(batch.parent_span_id, operation.span_id);
    assert_eq!(attribute(batch, "batch.calls"), Some(Value::IntValue(1)));
    assert_eq!(text(batch, "batch.script").as_deref(), Some("accounts/open"));
    assert!(attribute(batch, "batch.number").is_some());
    for (outer, inner) in [(request, operation), (operation, batch)] {
        assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano);
        assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano);
    }
    assert!(!spans.iter().any(|span| hex(&span.trace_id) == other_trace));
    // What the service does by itself, such as storing its statistics, is no trace.
    assert!(!spans.iter().any(|span| span.name.starts_with("monitoring/")));
    let refused = spans.iter().find(|span| span.name == "POST /accounts/deposit").unwrap();
    assert_eq!(attribute(refused, "http.response.status_code"), Some(Value::IntValue(422)));
    assert!(refused.parent_span_id.is_empty() && refused.trace_id.len() == 16);
    // Nothing that the caller has sent but ids of request and trace.
    let everything = format!("{spans:?}");
    for secret in ["1234.56", "123456", "4111", "alice"] {
        assert!(!everything.contains(secret), "{secret} in {everything}");
    }
    let exports = collector.exports.lock().unwrap();
    let resource = exports[0].resource_spans[0].resource.as_ref().unwrap();
    let service =
        resource.attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    let name = service.value.as_ref().unwrap().value.as_ref().unwrap();
    assert_eq!(*name, Value::StringValue("lockstep".to_owned()));
}

/// Calls of different traces share a script, and each trace has the spans of its own call.
#[tokio::test(flavor = "multi_thread")]
async fn traces_at_the_same_time_do_not_mix() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let process = Process::start(&["--redis-url", redis_url(), "--otlp-endpoint", &endpoint]);
    let space = unique("traced-");
    let trace = |index: usize| format!("{index:032x}");
    std::thread::scope(|scope| {
        for index in 1..=16 {
            let traceparent = format!("00-{}-{PARENT}-01", trace(index));
            let headers = headers(&space, Some(&traceparent));
            let process = &process;
            scope.spawn(move || {
                let body = r#"{"counter":"seats"}"#;
                assert_eq!(send(process, "/counters/increment", &headers, body), 200);
            });
        }
    });
    end(process);
    let spans = collector.spans();
    for index in 1..=16 {
        let own: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == trace(index)).collect();
        let named = |name: &str| {
            let found: Vec<_> = own.iter().filter(|span| span.name == name).collect();
            found.first().map(|span| span.span_id.clone()).unwrap_or_default()
        };
        let count = |name: &str| own.iter().filter(|span| span.name == name).count();
        assert_eq!((count("POST /counters/increment"), count("counters/increment")), (1, 1));
        assert!((1..=2).contains(&count("batch")), "once, or again with the source");
        for span in &own {
            let parent = match span.name.as_str() {
                "batch" => hex(&named("counters/increment")),
                "counters/increment" => hex(&named("POST /counters/increment")),
                _ => PARENT.to_owned(),
            };
            assert_eq!(hex(&span.parent_span_id), parent, "{} of {index}", span.name);
        }
    }
}

/// Counts the spans that are made.
#[derive(Clone, Default)]
struct SpanCounter(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for SpanCounter {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: layer::Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Without a collector and with a log that wants no spans, no call makes one: neither its request, its operation nor the
/// batch that carries it.
#[tokio::test]
async fn without_traces_no_span_is_made() {
    for (filter, makes_spans) in [("info", false), ("lockstep=debug", true)] {
        let spans = SpanCounter::default();
        let subscriber = tracing_subscriber::registry()
            .with(spans.clone())
            .with(EnvFilter::try_new(filter).unwrap());
        let _only_here = tracing::subscriber::set_default(subscriber);
        // Its workers run on this thread.
        let service = Service::new();
        service.open("alice", "1").await;
        service.transfer("alice", "nobody", "1").await.expect_problem(404, "account_not_found");
        service
            .atomic(&[
                operation("counters/increment", json!({ "counter": "a" })),
                operation("counters/increment", json!({ "counter": "b" })),
            ])
            .await
            .assert(200);
        service
            .get("/accounts/alice")
            .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
            .await
            .assert(200);
        assert_eq!(spans.0.load(Ordering::Relaxed) > 0, makes_spans, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_stream_belong_to_its_trace() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let process = Process::start(&["--redis-url", redis_url(), "--otlp-endpoint", &endpoint]);
    let line = r#"{"operation":"counters/increment","input":{"counter":"seats"}}"#;
    let headers = format!(
        "Content-Type: application/x-ndjson\r\nLockstep-Space: {}\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n",
        unique("traced-")
    );
    assert_eq!(send(&process, "/bulk", &headers, &format!("{line}\n{line}\n{line}\n")), 200);
    end(process);
    let spans = collector.spans();
    let request = spans.iter().find(|span| span.name == "POST /bulk").unwrap();
    let batches: Vec<_> = spans.iter().filter(|span| span.name == "batch").collect();
    // A call whose script the server does not know is sent a second time, with its source.
    assert!((3..=6).contains(&batches.len()), "{}", batches.len());
    for batch in batches {
        assert_eq!(
            (hex(&batch.trace_id), &batch.parent_span_id),
            (TRACE.to_owned(), &request.span_id)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_hangs_holds_up_nothing() {
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [free_port(), hanging.local_addr().unwrap().port()] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let process = Process::start(&["--redis-url", redis_url(), "--otlp-endpoint", &endpoint]);
        let headers = headers(&unique("untraced-"), None);
        for _ in 0..100 {
            let status = send(&process, "/counters/increment", &headers, r#"{"counter":"seats"}"#);
            assert_eq!(status, 200);
        }
        end(process);
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused_at_the_start() {
    for endpoint in ["https://collector:4318", "collector:4318", "nothing"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(["--otlp-endpoint", endpoint]).stdout(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{endpoint}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("--otlp-endpoint"), "{message}");
    }
}
