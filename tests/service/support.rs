//! The few verbs that tests speak.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lockstep::{
    api::{Limits, ShutdownGate},
    app::{self, app},
    store::{Retention, Settings, Store},
};
use redis::Commands;
use serde_json::{Value, json};
use tower::ServiceExt;

/// The Redis that tests share.
pub fn redis_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    // Dropping it would end it, so it is kept until the process ends.
    URL.get_or_init(|| Box::leak(Box::new(Server::of_this_run())).url.clone())
}

/// A Redis that ends when this is dropped or the test process ends, however it does.
pub struct Server {
    pub url: String,
    pub folder: String,
    shell: Child,
}

impl Server {
    /// One of the kind that this run is about: `LOCKSTEP_TEST_SERVER` names another program, and
    /// with `LOCKSTEP_TEST_CLUSTER` it is a cluster of one node.
    pub fn of_this_run() -> Server {
        let cluster = std::env::var_os("LOCKSTEP_TEST_CLUSTER").is_some();
        let server = Server::start(if cluster { &["--cluster-enabled", "yes"] } else { &[] });
        if cluster {
            let mut connection = server.connection();
            let slots = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16383).to_owned();
            slots.exec(&mut connection).unwrap();
            wait_for("the cluster", || {
                let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection).ok()?;
                info.contains("cluster_state:ok").then_some(())
            });
        }
        server
    }

    pub fn start(arguments: &[&str]) -> Server {
        Server::start_in(&unique("lockstep-test-"), arguments)
    }

    pub fn start_in(name: &str, arguments: &[&str]) -> Server {
        let port = free_port();
        let program = std::env::var("LOCKSTEP_TEST_SERVER").unwrap_or("redis-server".to_owned());
        let folder = std::env::temp_dir().join(name).display().to_string();
        std::fs::create_dir_all(&folder).unwrap();
        // The shell waits for the end of its input, which comes with the end of this process.
        let script = format!(
            "'{program}' --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir '{folder}' {} \
             >/dev/null & read _; kill -9 $!; wait; rm -rf '{folder}'",
            arguments.join(" "),
        );
        let shell = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn();
        let shell = shell.expect("a shell to start redis-server from");
        let server = Server { url: format!("redis://127.0.0.1:{port}"), folder, shell };
        drop(server.connection());
        server
    }

    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        wait_for("redis-server (is it installed?)", || client.get_connection().ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Asks until there is an answer; tests wait for facts, never for time to pass.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The whole service in this process, in a space of its own.
#[derive(Clone)]
pub struct Service {
    router: Router,
    pub store: Store,
    pub space: String,
    url: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Service {
    pub fn new() -> Service {
        Service::with(|_| {})
    }

    /// On a Redis of its own, for tests that look at all keys often or leave very many.
    pub fn alone(server: &Server) -> Service {
        Service::with(|settings| settings.url = server.url.clone())
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Service {
        let mut settings = Settings {
            url: redis_url().to_owned(),
            batch_workers: 2,
            transactions: 16,
            queue: 8192,
            timeout: Duration::from_secs(20),
            retention: Retention {
                idempotency_ttl_ms: 3_600_000,
                transaction_ttl_ms: 3_600_000,
                history: 1000,
            },
        };
        change(&mut settings);
        lockstep::telemetry::prometheus();
        let store = Store::open(&settings).unwrap();
        let shape = app::Settings { base_path: String::new(), body_limit_bytes: 262_144 };
        let router = app(store.clone(), ShutdownGate::new(Limits::default()), &shape);
        Service { router, store, space: unique("test-"), url: settings.url }
    }

    /// The same service, in another space that nobody has.
    pub fn in_new_space(&self) -> Service {
        Service { space: unique("test-"), ..self.clone() }
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub fn set_router(&mut self, router: Router) {
        self.router = router;
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    pub async fn post_with(&self, path: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path)
            .header("content-type", "application/json")
            .header("lockstep-space", &self.space);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// A command that happens once, under a key.
    pub async fn post_once(&self, path: &str, body: Value, key: &str) -> Answer {
        self.post_with(path, body, &[("idempotency-key", key)]).await
    }

    pub async fn patch(&self, path: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::patch(path)
            .header("content-type", "application/json")
            .header("lockstep-space", &self.space);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::delete(path).header("lockstep-space", &self.space);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("lockstep-space", &self.space);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Lets time pass without waiting for it.
    pub fn advance_ms(&self, ms: i64) {
        self.store.clock().advance_ms(ms);
    }

    /// How much of it has passed so.
    pub fn ahead_ms(&self) -> i64 {
        self.store.clock().ahead_ms()
    }

    pub async fn open(&self, account: &str, balance: &str) {
        let body = json!({ "account_id": account, "initial_balance": balance });
        self.post("/accounts", body).await.assert(201);
    }

    pub async fn transfer(&self, from: &str, to: &str, amount: &str) -> Answer {
        let body = json!({ "from_account": from, "to_account": to, "amount": amount });
        self.post("/accounts/transfer", body).await
    }

    pub async fn hold(&self, from: &str, to: &str, amount: &str, ttl_ms: u64) -> Answer {
        let body = json!({
            "from_account": from, "to_account": to, "amount": amount, "ttl_ms": ttl_ms
        });
        self.post("/accounts/hold", body).await
    }

    /// Sets money aside for an hour and answers the id of the hold.
    pub async fn held(&self, from: &str, to: &str, amount: &str) -> String {
        let body = self.hold(from, to, amount, 3_600_000).await.assert(201);
        body["hold_id"].as_str().unwrap().to_owned()
    }

    pub async fn capture(&self, hold_id: &str, amount: Option<&str>, last: bool) -> Answer {
        let body = json!({ "hold_id": hold_id, "amount": amount, "final": last });
        self.post("/accounts/capture", body).await
    }

    pub async fn release(&self, hold_id: &str) -> Answer {
        self.post("/accounts/release", json!({ "hold_id": hold_id })).await
    }

    pub async fn reverse(&self, transaction_id: &str, amount: Option<&str>) -> Answer {
        let body = json!({ "transaction_id": transaction_id, "amount": amount });
        self.post("/accounts/reverse", body).await
    }

    pub async fn freeze(&self, account: &str, direction: &str) {
        let body = json!({ "account_id": account, "direction": direction });
        self.post("/accounts/freeze", body).await.assert(200);
    }

    pub async fn close(&self, account: &str) -> Answer {
        self.post("/accounts/close", json!({ "account_id": account })).await
    }

    /// Balance, available, held.
    pub async fn funds(&self, account: &str) -> [String; 3] {
        let answer = self.get(&format!("/accounts/{account}/balance")).await.assert(200);
        ["balance", "available", "held"].map(|name| answer[name].as_str().unwrap().to_owned())
    }

    pub async fn balance(&self, account: &str) -> String {
        let answer = self.get(&format!("/accounts/{account}/balance")).await.assert(200);
        answer["balance"].as_str().unwrap().to_owned()
    }

    pub async fn add_product(&self, product: &str, stock: u64) {
        let body =
            json!({ "product_id": product, "name": product, "price": "1", "initial_stock": stock });
        self.post("/inventory/products", body).await.assert(201);
    }

    pub async fn reserve(&self, product: &str, quantity: u64, ttl_ms: u64) -> Answer {
        let body = json!({
            "customer_id": "carol", "product_id": product, "quantity": quantity, "ttl_ms": ttl_ms
        });
        self.post("/inventory/reserve", body).await
    }

    /// On hand, reserved, available.
    pub async fn stock(&self, product: &str) -> [u64; 3] {
        let answer = self.get(&format!("/inventory/products/{product}")).await.assert(200);
        ["on_hand", "reserved", "available"].map(|name| answer[name].as_u64().unwrap())
    }

    pub async fn acquire(&self, lock: &str, owner: &str, ttl_ms: u64) -> Answer {
        let body = json!({ "lock": lock, "owner": owner, "ttl_ms": ttl_ms });
        self.post("/locks", body).await
    }

    pub async fn increment(&self, counter: &str, by: i64) -> Answer {
        self.post("/counters/increment", json!({ "counter": counter, "by": by })).await
    }

    /// How far a counter has come.
    pub async fn counter(&self, counter: &str) -> i64 {
        let answer = self.get(&format!("/counters/{counter}")).await.assert(200);
        answer["value"].as_i64().unwrap()
    }

    /// Several operations as one; each as [`operation`] writes it.
    pub async fn atomic(&self, operations: &[Value]) -> Answer {
        self.post("/atomic", json!({ "operations": operations })).await
    }

    /// The key of a thing of this space.
    pub fn key(&self, kind: &str, id: &str) -> String {
        format!("lockstep:{{{}}}:{kind}:{id}", self.space)
    }

    /// Every key of this space with its content, byte for byte.
    pub fn snapshot(&self) -> Vec<(String, Vec<u8>)> {
        let mut connection = self.raw();
        let mut keys: Vec<String> = keys(&mut connection, &self.space);
        keys.sort();
        keys.into_iter()
            .map(|key| {
                let content = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
                (key, content)
            })
            .collect()
    }

    /// Nothing has changed since a snapshot; otherwise, what has.
    #[track_caller]
    pub fn assert_unchanged(&self, before: &[(String, Vec<u8>)]) {
        let after = self.snapshot();
        let changed = |one: &[(String, Vec<u8>)], other: &[(String, Vec<u8>)]| -> Vec<String> {
            let gone = one.iter().filter(|entry| !other.contains(entry));
            gone.map(|(key, content)| format!("{key} {}", String::from_utf8_lossy(content)))
                .collect()
        };
        let (gone, new) = (changed(before, &after), changed(&after, before));
        assert!(gone.is_empty() && new.is_empty(), "before: {gone:#?}\nafter: {new:#?}");
    }

    /// The balances of all accounts of a currency, the outside among them: zero, always.
    pub fn sum(&self, currency: &str) -> i128 {
        sum(&mut self.raw(), &self.space, currency)
    }

    /// Its Redis, past the service.
    pub fn raw(&self) -> redis::Connection {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }
}

/// One of several operations.
pub fn operation(name: &str, input: Value) -> Value {
    json!({ "operation": name, "input": input })
}

pub fn raw() -> redis::Connection {
    redis::Client::open(redis_url()).unwrap().get_connection().unwrap()
}

fn keys(connection: &mut redis::Connection, space: &str) -> Vec<String> {
    let pattern = format!("lockstep:{{{space}}}:*");
    let mut cursor = 0_u64;
    let mut found = Vec::new();
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(5000)
            .query(connection)
            .unwrap();
        found.extend(keys);
        cursor = next;
        if cursor == 0 {
            return found;
        }
    }
}

/// Reads the accounts of a space as one moment has them.
fn sum(connection: &mut redis::Connection, space: &str, currency: &str) -> i128 {
    let prefix = format!("lockstep:{{{space}}}:account:");
    let accounts: Vec<String> =
        keys(connection, space).into_iter().filter(|key| key.starts_with(&prefix)).collect();
    let outside = format!("lockstep:{{{space}}}:external:accounts");
    let (records, outside): (Vec<Option<String>>, Option<String>) = redis::pipe()
        .atomic()
        .cmd("MGET")
        .arg(&accounts)
        .cmd("HGET")
        .arg(outside)
        .arg(currency)
        .query(connection)
        .unwrap();
    let minor =
        |record: &Value, name: &str| -> i128 { record[name].as_str().unwrap().parse().unwrap() };
    records
        .into_iter()
        .chain([outside])
        .flatten()
        .map(|record| serde_json::from_str::<Value>(&record).unwrap())
        .filter(|record| record["currency"] == currency)
        .map(|record| minor(&record, "credits") - minor(&record, "debits"))
        .sum()
}

impl Answer {
    /// The body, where the status is as expected.
    #[track_caller]
    pub fn assert(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self.body
    }

    /// The body of a problem, where it is the expected one.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &json!(code)),
            "{:#}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["type"], format!("/problems/{code}"));
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        let detail = self.body["detail"].as_str().unwrap();
        assert!(detail.ends_with('.') && !detail.contains(['{', '}']), "{detail}");
        self.body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

/// The service as a process of its own, killed when the test is done with it.
pub struct Process {
    child: Child,
    pub address: String,
    client: Client<HttpConnector, Body>,
}

impl Process {
    /// Starts `lockstep` with these arguments on a port of its own choosing.
    pub fn start(arguments: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
            .args(["--listen", "127.0.0.1:0", "--log", "warn"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([' ', '/']).next());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Process { child, address, client }
    }

    /// On the Redis of this test run.
    pub fn shared() -> Process {
        Process::start(&["--redis-url", redis_url()])
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it in the way nobody can prepare for.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// One call; `None` where no answer came.
    pub async fn post(&self, space: &str, path: &str, body: &Value, key: &str) -> Option<Answer> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .header("lockstep-space", space)
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.client.request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    /// A stream of commands, and what came back of it; nothing where it was cut off.
    pub fn bulk(&self, space: &str, lines: String) -> tokio::task::JoinHandle<Option<Vec<u8>>> {
        let request = Request::post(format!("http://{}/bulk", self.address))
            .header("content-type", "application/x-ndjson")
            .header("lockstep-space", space)
            .body(Body::from(lines))
            .unwrap();
        let client = self.client.clone();
        tokio::spawn(async move {
            let response = client.request(request).await.ok()?;
            let bytes = response.into_body().collect().await.ok()?.to_bytes();
            Some(bytes.to_vec())
        })
    }

    pub async fn get_text(&self, path: &str) -> String {
        let request = Request::get(format!("http://{}{path}", self.address));
        let request = request.body(Body::empty()).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub async fn get(&self, space: &str, path: &str) -> Option<Answer> {
        let request = Request::get(format!("http://{}{path}", self.address))
            .header("lockstep-space", space)
            .body(Body::empty())
            .unwrap();
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some(Answer { status: head.status, headers: head.headers, body })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sets a key to a value of some type, to see what a script makes of it.
pub fn seed(connection: &mut redis::Connection, key: &str, kind: &str, text: &str) {
    let _: () = connection.del(key).unwrap();
    let _: () = match kind {
        "string" => connection.set(key, text).unwrap(),
        "list" => connection.rpush(key, text).unwrap(),
        "hash" => connection.hset(key, "USD", text).unwrap(),
        "set" => connection.sadd(key, text).unwrap(),
        "zset" => connection.zadd(key, text, 1).unwrap(),
        other => panic!("no type {other}"),
    };
}
