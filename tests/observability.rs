//! What `examples/observability` has, against a real Prometheus that has scraped a running service: each query of the
//! dashboard and each alert rule. `make test-observability` installs Prometheus and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use process::Service;
use serde_json::Value;

const EXAMPLES: &str = "examples/observability";

/// The address of the service in the examples.
const SHOWN_SERVICE: &str = "127.0.0.1:8080";

/// Sends a request of HTTP/1.0, and returns the body of its answer, whatever the status.
fn send(address: &str, method: &str, path: &str, headers: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn get(address: &str, path: &str) -> Option<String> {
    send(address, "GET", path, "", "")
}

/// Calls of every kind that the dashboard shows: some succeed, one is refused, one is a replay.
fn load(address: &str) {
    let post = |path: &str, key: &str, body: &str| {
        let headers = format!("Content-Type: application/json\r\nIdempotency-Key: {key}\r\n");
        send(address, "POST", path, &headers, body).unwrap()
    };
    post("/accounts", "open-alice", r#"{"account_id":"alice","initial_balance":"10"}"#);
    post("/accounts", "open-bob", r#"{"account_id":"bob"}"#);
    let transfer = |amount: &str, key: &str| {
        let body = format!(r#"{{"from_account":"alice","to_account":"bob","amount":"{amount}"}}"#);
        post("/accounts/transfer", key, &body)
    };
    transfer("1", "first");
    transfer("1", "first");
    assert!(transfer("1000", "second").contains("insufficient_funds"));
    let set = r#"{"type":"set","key":"k","value":"1"}"#;
    post("/transactions", "watch", &format!(r#"{{"watch":["k"],"operations":[{set}]}}"#));
    get(address, "/accounts/alice").unwrap();
}

/// A Prometheus that scrapes a service by the configuration of the examples, only more often.
struct Prometheus {
    address: String,
    child: Child,
}

impl Prometheus {
    fn start(service: &Service) -> Prometheus {
        let address = free_address();
        let folder = service.folder.join("prometheus");
        fs::create_dir_all(&folder).unwrap();
        let example = fs::read_to_string(format!("{EXAMPLES}/prometheus.yml")).unwrap();
        assert!(example.contains(SHOWN_SERVICE) && example.contains(": 15s"));
        let config = example.replace(SHOWN_SERVICE, host(service)).replace(": 15s", ": 1s");
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        fs::copy(format!("{EXAMPLES}/alerts.yml"), folder.join("alerts.yml")).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{error}; make test-observability installs prometheus"));
        Prometheus { address, child }
    }

    /// The values of a query now; `None` while there is no answer.
    fn try_query(&self, query: &str) -> Option<Vec<Value>> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            encoded.push_str(&format!("%{byte:02x}"));
        }
        let answer = get(&self.address, &format!("/api/v1/query?query={encoded}"))?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().cloned()
    }

    fn query(&self, query: &str) -> Vec<Value> {
        self.try_query(query).unwrap_or_else(|| panic!("no answer to {query}"))
    }

    /// Waits until a query has a value.
    fn wait_for(&self, query: &str) {
        for _ in 0..600 {
            if self.try_query(query).is_some_and(|values| !values.is_empty()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("waited in vain for {query}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn host(service: &Service) -> &str {
    service.url.strip_prefix("http://").unwrap()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The queries of the dashboard, with what Grafana would put in place of its variables.
fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(format!("{EXAMPLES}/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let query = |target: &Value| {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        assert!(!query.contains('$'), "{query}");
        query
    };
    targets.map(query).collect()
}

/// The expressions of the alert rules: each stands on a line of its own.
fn alert_expressions() -> Vec<String> {
    let text = fs::read_to_string(format!("{EXAMPLES}/alerts.yml")).unwrap();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    lines.map(str::to_owned).collect()
}

/// The metrics that a query names.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let words = query.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    let is_metric = |word: &&str| word.starts_with("lockstep_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}; make test-observability installs promtool"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_finds_nothing_in_the_metrics_and_the_examples() {
    let service = Service::start("promtool");
    promtool(&["check", "metrics"], &get(host(&service), "/metrics").unwrap());
    load(host(&service));
    let metrics = get(host(&service), "/metrics").unwrap();
    promtool(&["check", "metrics"], &metrics);
    // Every metric has a help text.
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} has no help text");
    }
    promtool(&["check", "config", &format!("{EXAMPLES}/prometheus.yml")], "");
}

#[test]
fn every_query_of_the_examples_has_an_answer() {
    let service = Service::start("observed");
    let prometheus = Prometheus::start(&service);
    prometheus.wait_for("lockstep_redis_up == 1");
    // A rate needs two samples around the calls.
    load(host(&service));
    prometheus.wait_for("sum(rate(lockstep_replays_total[1m])) > 0");
    load(host(&service));
    prometheus.wait_for(
        "sum(rate(lockstep_http_request_duration_seconds_count{route=\"/transactions\"}[1m])) > 0",
    );

    let queries = dashboard_queries();
    assert!(queries.len() > 30, "{}", queries.len());
    for query in &queries {
        let values = prometheus.query(query);
        assert!(!values.is_empty(), "no value: {query}");
        let is_number = |value: &Value| value["value"][1].as_str().unwrap() != "NaN";
        assert!(values.iter().any(is_number), "no number: {query}: {values:?}");
    }
    let alerts = alert_expressions();
    assert!(alerts.len() > 10, "{}", alerts.len());
    for expression in &alerts {
        let firing = prometheus.query(expression);
        assert!(firing.is_empty(), "{expression} fires: {firing:?}");
        for metric in metrics_of(expression) {
            let values = prometheus.query(&metric);
            assert!(!values.is_empty(), "{expression} asks for {metric}, which there is not");
        }
    }
    assert!(get(&prometheus.address, "/api/v1/rules").unwrap().contains("LockstepTornCommit"));
}

#[test]
fn alerts_tell_what_is_wrong() {
    let service = Service::start("alerted");
    let prometheus = Prometheus::start(&service);
    prometheus.wait_for("lockstep_redis_up == 1");
    // The embedded server is stopped by its own socket, and started anew by the service after a while.
    let socket = service.folder.join("data/redis.sock");
    let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let () = redis::cmd("SET")
        .arg("lockstep:{main}:account:mine")
        .arg("x")
        .query(&mut connection)
        .unwrap();
    assert!(get(host(&service), "/accounts/mine").unwrap().contains("internal_error"));
    let expressions = alert_expressions();
    let expression = |part: &str| {
        let mut found = expressions.iter().filter(|expression| expression.contains(part));
        found.next().unwrap_or_else(|| panic!("no rule with {part}"))
    };
    prometheus.wait_for(expression("internal_error"));
    let () =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1mb").query(&mut connection).unwrap();
    prometheus.wait_for(expression("lockstep_redis_memory_bytes"));
}
