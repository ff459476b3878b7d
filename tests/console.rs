//! The console and Swagger UI in a real browser: what they show, and that nothing is written to the browser's console.
//! `make test-console` installs Chromium and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use process::Service;
use serde_json::{Value, json};

/// Makes a call with curl, and returns the JSON of its answer. Without a body it is a GET.
fn call(service: &Service, method: &str, path: &str, body: Option<&Value>) -> Value {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--request", method]).arg(service.url.clone() + path);
    if let Some(body) = body {
        curl.args(["--header", "Content-Type: application/json", "--data"]).arg(body.to_string());
    }
    let output = curl.output().expect("curl is installed");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Opens a section of the console, as [`open`] does.
fn look(service: &Service, section: &str) -> String {
    open(service, &format!("/console/#/{section}"))
}

/// Opens a page in Chromium and returns the elements that it has after a few seconds of the page's time. Panics
/// where the page has written an error, or anything else, to the console of the browser.
fn open(service: &Service, page: &str) -> String {
    let output = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .args(["--virtual-time-budget=15000", "--timeout=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", service.folder.join("browser").display()))
        .arg(service.url.clone() + page)
        .stdin(Stdio::null())
        .output()
        .expect("chromium is installed");
    let written = String::from_utf8_lossy(&output.stderr);
    // Swagger UI takes the underscore of a name for a blank, and warns of its next version.
    let is_known = |line: &&str| line.contains("escaping deep link whitespace");
    let lines = written.lines().filter(|line| line.contains(":CONSOLE"));
    let complaints: Vec<&str> = lines.filter(|line| !is_known(line)).collect();
    assert!(complaints.is_empty(), "{page}: {complaints:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
}

/// 20 transfers that succeed and 10 that are refused, and something of each domain.
fn load(service: &Service) {
    let post = |path: &str, body: Value| call(service, "POST", path, Some(&body));
    post("/accounts", json!({ "account_id": "alice", "initial_balance": "50.00" }));
    post("/accounts", json!({ "account_id": "bob" }));
    let transfer = json!({ "from_account": "alice", "to_account": "bob", "amount": "2.50" });
    let refused =
        (0..30).filter(|_| post("/accounts/transfer", transfer.clone())["code"].is_string());
    assert_eq!(refused.count(), 10);
    let hold =
        json!({ "from_account": "bob", "to_account": "alice", "amount": "5", "ttl_ms": 600_000 });
    post("/accounts/hold", hold);
    post(
        "/inventory/products",
        json!({ "product_id": "cup", "name": "<b>Cup</b>", "price": "7.90", "currency": "USD", "initial_stock": 100 }),
    );
    post(
        "/inventory/reserve",
        json!({ "customer_id": "carol", "product_id": "cup", "quantity": 2 }),
    );
    post("/locks", json!({ "lock": "report", "owner": "worker-7", "ttl_ms": 600_000 }));
    let bucket = json!({
        "algorithm": "token_bucket", "capacity": 100, "refill_tokens": 10, "refill_interval_ms": 1000
    });
    call(service, "PUT", "/ratelimit/policies/api", Some(&bucket));
    post("/cache/set", json!({ "key": "summary", "value": "5.00", "ttl_ms": 600_000 }));
    for key in ["summary", "summary", "summary", "other"] {
        post("/cache/get", json!({ "key": key }));
    }
}

/// Waits until the statistics have so many calls; the service stores them about once a second.
fn wait_for_calls(service: &Service, count: u64) {
    for _ in 0..200 {
        if call(service, "GET", "/monitoring/transactions", None)["total"]["count"] == count {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the statistics have not {count} calls after 10 seconds");
}

#[test]
fn an_empty_store_says_what_to_do_first() {
    let service = Service::start("console-empty");
    assert_shows(
        &look(&service, ""),
        &["There was no call within the last hour", "curl -s", "Up to date"],
    );
    assert_shows(&look(&service, "accounts"), &["This space has no accounts"]);
}

#[test]
fn sections_show_what_has_happened() {
    let service = Service::start("console");
    load(&service);
    wait_for_calls(&service, 42);

    let overview = look(&service, "overview");
    assert_shows(
        &overview,
        &[
            "<dt>Calls</dt><dd>42</dd>",
            "<dt>Refused</dt><dd class=\"refused\">10</dd>",
            "accounts/transfer</a>",
            "insufficient_funds 10",
            "account_id alice",
            "<dt>Cache hits</dt><dd>75.0 %</dd>",
        ],
    );
    assert_shows(&look(&service, "overview/accounts%2Ftransfer"), &["<dt>Calls</dt><dd>30</dd>"]);
    assert_shows(&look(&service, "accounts"), &["alice</a>", "45.00", "USD"]);
    assert_shows(&look(&service, "accounts/bob"), &["50.00 USD", "transfer", "<dd>5.00</dd>"]);
    assert_shows(&look(&service, "accounts/nobody"), &["nobody"]);
    let stock = look(&service, "stock");
    assert_shows(&stock, &["&lt;b&gt;Cup&lt;/b&gt;", "98"]);
    assert_shows(&look(&service, "stock/cup"), &["carol", "+2 to 2", "res_"]);
    assert_shows(&look(&service, "customers/carol"), &["2 × cup", "held"]);
    assert_shows(&look(&service, "locks"), &["report</a>", "worker-7"]);
    assert_shows(&look(&service, "locks/report"), &["Fencing token", "Nobody waits."]);
    assert_shows(&look(&service, "limits"), &["token_bucket", "capacity 100"]);
    assert_shows(&look(&service, "scripts"), &["accounts/transfer"]);
    assert_shows(&look(&service, "servers"), &["Append-only file", "worker"]);
}

/// A node of a cluster that has all slots, and ends when this value is dropped.
struct ClusterNode {
    address: String,
    folder: PathBuf,
    node: Child,
}

impl ClusterNode {
    fn start() -> ClusterNode {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, bus_port) = (free().to_string(), free().to_string());
        let folder = std::env::temp_dir().join(format!("console-node-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let node = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port, "--appendonly", "yes", "--dir"])
            .arg(&folder)
            .args(["--cluster-enabled", "yes", "--cluster-port", &bus_port])
            .stdout(Stdio::null())
            .spawn();
        let node = node.expect("redis-server is installed");
        let address = format!("127.0.0.1:{port}");
        let client = redis::Client::open(format!("redis://{address}")).unwrap();
        let node = ClusterNode { address, folder, node };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383);
        let mut info = redis::cmd("CLUSTER");
        info.arg("INFO");
        let mut has_slots = false;
        // A node serves no call before it has been up for two seconds.
        for _ in 0..1_000 {
            if let Ok(mut connection) = client.get_connection() {
                if !has_slots {
                    slots.exec(&mut connection).unwrap();
                    has_slots = true;
                }
                let state: String = info.query(&mut connection).unwrap();
                if state.contains("cluster_state:ok") {
                    return node;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the node does not serve");
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn the_masters_of_a_cluster_are_listed() {
    let node = ClusterNode::start();
    let url = format!("redis://{}", node.address);
    let service = Service::start_with("console-cluster", &["--redis-url", &url]);
    let address = format!("<td>{}</td>", node.address);
    let row = address + "<td class=\"number\">16,384</td><td class=\"good\">ok</td>";
    assert_shows(&look(&service, "servers"), &["Masters of the cluster", &row]);
}

/// Swagger UI lists the operations, and a link to one opens it, with its example and the problems that it can answer.
#[test]
fn the_documentation_opens_the_operation_of_a_link() {
    let service = Service::start("documentation");
    let list = open(&service, "/docs/");
    assert_shows(
        &list,
        &["operations-accounts-accounts_transfer", "operations-locks-locks_acquire"],
    );
    assert!(!list.contains("is-open\" id=\"operations-"), "no operation is open");
    let opened = open(&service, "/docs/#/accounts/accounts_transfer");
    assert_shows(&opened, &["is-open\" id=\"operations-accounts-accounts_transfer\""]);
    assert_shows(&opened, &["from_account", "insufficient_funds"]);
}
