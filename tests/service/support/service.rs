//! The service within the test's process, and the verbs in which tests tell what callers do. Most give
//! a [`Call`], which is sent when it is awaited.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request},
};
use lockstep::{
    api::{AccessSettings, Limits, ShutdownGate},
    app::{self, app},
    auth::{CallerKey, KeyRing, KnownKey, Principal, ScopeSet, SpaceSet},
    keys::follow_keys,
    store::{Access, Retention, Settings, Store},
    telemetry::CallStatistics,
    types::Id,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    Answer, Call, Cluster, HOUR, Server, raw, redis_url,
    script::{self, Step},
    unique,
};

/// The whole service but its sockets, with a space that no other test uses.
#[derive(Clone)]
pub struct Service {
    router: Router,
    pub store: Store,
    pub statistics: CallStatistics,
    pub space: String,
    url: String,
    /// The key that its calls have.
    caller_key: Option<String>,
    /// What its router asks before a request.
    pub gate: ShutdownGate,
    /// The keys that it knows, where it has some.
    pub ring: Option<Arc<KeyRing>>,
}

impl Service {
    pub fn new() -> Service {
        Service::with(|_| {})
    }

    /// On a Redis of its own, for tests that read all keys often or leave very many.
    pub fn on_own_redis(server: &Server) -> Service {
        Service::with(|settings| settings.url.clone_from(&server.url))
    }

    /// On a cluster, found by the address of one of its nodes, with one batch worker for each master.
    #[allow(dead_code, reason = "only tests/distributed uses it")]
    pub fn on_cluster(cluster: &Cluster) -> Service {
        Service::with(|settings| {
            settings.url = cluster.url();
            settings.batch_workers = 1;
        })
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Service {
        let mut settings = Settings {
            url: redis_url().to_owned(),
            access: Access::default(),
            batch_workers: 2,
            transactions: 16,
            queue: 8192,
            queue_bytes: 64 << 20,
            timeout: Duration::from_secs(20),
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
            retention: Retention {
                idempotency_ttl_ms: 3_600_000,
                transaction_ttl_ms: 3_600_000,
                history: 1000,
            },
        };
        change(&mut settings);
        lockstep::telemetry::prometheus();
        let store = Store::open(&settings).unwrap();
        let statistics = CallStatistics::default();
        let (router, gate) = router(&store, &statistics, None);
        let (space, url) = (unique("test-"), settings.url);
        Service { router, store, statistics, space, url, caller_key: None, gate, ring: None }
    }

    /// The same service with keys, which are stored in its space. Its calls have the root key.
    pub fn with_root_key(&self) -> Service {
        let root = CallerKey::generate().unwrap();
        let space = Id::try_from(self.space.clone()).unwrap();
        let ring = Arc::new(KeyRing::new(space, root.digest()));
        let access = AccessSettings {
            ring: Arc::clone(&ring),
            failures_per_minute: 100,
            trusted_proxies: Vec::new(),
        };
        let (router, gate) = router(&self.store, &self.statistics, Some(access));
        Service {
            router,
            gate,
            caller_key: Some(root.text().to_owned()),
            ring: Some(ring),
            ..self.clone()
        }
    }

    /// The same service with keys, whose calls have one that may do everything. Only its process knows that key.
    pub fn with_key_of_process(&self) -> Service {
        let service = self.with_root_key();
        let key = CallerKey::generate().unwrap();
        let principal = Principal::new(key.id(), "test", ScopeSet::new(["*"]), SpaceSet::all());
        let known = KnownKey::new(principal, u64::MAX, key.digest(), 0);
        service.ring.as_ref().unwrap().replace(0, vec![known]);
        service.as_caller(key.text())
    }

    /// A service with keys that follows their changes, with a space that no other test uses.
    pub async fn with_keys() -> Service {
        let service = Service::new().with_root_key();
        let ring = service.ring.clone().unwrap();
        tokio::spawn(follow_keys(service.store.clone(), Arc::clone(&ring)));
        let loaded = async {
            while !ring.is_loaded() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), loaded).await.expect("keys");
        service
    }

    /// The same service whose calls have this key.
    pub fn as_caller(&self, key: &str) -> Service {
        Service { caller_key: Some(key.to_owned()), ..self.clone() }
    }

    /// Makes a key, and returns its text. The caller needs the root key.
    pub async fn make_key(&self, scopes: &[&str], spaces: &[&str]) -> String {
        let body = json!({ "name": "test", "scopes": scopes, "spaces": spaces });
        let made = self.post("/keys", body).await.assert(201);
        made["key"].as_str().unwrap().to_owned()
    }

    /// The same service with another space that no other test uses.
    pub fn in_new_space(&self) -> Service {
        Service { space: unique("test-"), ..self.clone() }
    }

    /// The same service with this space.
    pub fn in_space(&self, space: &str) -> Service {
        Service { space: space.to_owned(), ..self.clone() }
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub fn set_router(&mut self, router: Router) {
        self.router = router;
    }

    /// A connection to the Redis of its space that bypasses the service.
    pub fn raw(&self) -> redis::Connection {
        if self.url == redis_url() {
            return raw(&self.space);
        }
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }

    /// Runs the script of an operation with these steps by the clock of the service, but without it.
    pub fn run_steps(
        &self,
        operation: &str,
        steps: &[Step],
    ) -> redis::RedisResult<Vec<redis::Value>> {
        script::run_steps(&mut self.raw(), self.ahead_ms(), operation, steps)
    }

    /// Moves the service's clock forward instead of waiting.
    pub fn advance_ms(&self, ms: i64) {
        self.store.clock().advance_ms(ms);
    }

    /// The milliseconds that its clock is ahead of Redis.
    pub fn ahead_ms(&self) -> i64 {
        self.store.clock().ahead_ms()
    }
}

/// The router of a service and its gate, with keys where there is a check of them.
fn router(
    store: &Store,
    statistics: &CallStatistics,
    access: Option<AccessSettings>,
) -> (Router, ShutdownGate) {
    let settings = app::RouterSettings {
        body_limit_bytes: 262_144,
        statistics: Some(statistics.clone()),
        access,
        ..app::RouterSettings::default()
    };
    let gate = ShutdownGate::new(Limits::default());
    (app(store.clone(), gate.clone(), &settings), gate)
}

/// Requests of any path.
impl Service {
    /// Sends a request as it is but for its host, for bodies that are no JSON and headers that are wrong.
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        let headers = request.headers_mut();
        headers.entry("host").or_insert(HeaderValue::from_static("lockstep"));
        if let Some(key) = &self.caller_key {
            let value = HeaderValue::try_from(format!("Bearer {key}")).unwrap();
            headers.entry("authorization").or_insert(value);
        }
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let call = Call::new(self.router(), &self.space, method, path);
        match &self.caller_key {
            Some(key) => call.with_caller_key(key),
            None => call,
        }
    }

    pub fn post(&self, path: &str, body: Value) -> Call {
        self.call("POST", path).json(body)
    }

    pub fn patch(&self, path: &str, body: Value) -> Call {
        self.call("PATCH", path).json(body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call {
        self.call("PUT", path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// Several operations as one; [`operation`](super::operation) writes each of them.
    pub fn atomic(&self, operations: &[Value]) -> Call {
        self.post("/atomic", json!({ "operations": operations }))
    }
}

/// Accounts. Amounts are decimals in US dollars.
impl Service {
    pub async fn open(&self, account: &str, balance: &str) {
        let body = json!({ "account_id": account, "initial_balance": balance });
        self.post("/accounts", body).await.assert(201);
    }

    pub fn transfer(&self, from: &str, to: &str, amount: &str) -> Call {
        let body = json!({ "from_account": from, "to_account": to, "amount": amount });
        self.post("/accounts/transfer", body)
    }

    pub fn deposit(&self, account: &str, amount: &str) -> Call {
        self.post("/accounts/deposit", json!({ "account_id": account, "amount": amount }))
    }

    pub fn withdraw(&self, account: &str, amount: &str) -> Call {
        self.post("/accounts/withdraw", json!({ "account_id": account, "amount": amount }))
    }

    pub fn hold(&self, from: &str, to: &str, amount: &str, ttl_ms: u64) -> Call {
        let body = json!({
            "from_account": from, "to_account": to, "amount": amount, "ttl_ms": ttl_ms
        });
        self.post("/accounts/hold", body)
    }

    /// Holds money for an hour, and returns the id of the hold.
    pub async fn held(&self, from: &str, to: &str, amount: &str) -> String {
        let body = self.hold(from, to, amount, HOUR.cast_unsigned()).await.assert(201);
        body["hold_id"].as_str().unwrap().to_owned()
    }

    /// Captures an amount, or all that is left; `last` releases the rest.
    pub fn capture(&self, hold_id: &str, amount: Option<&str>, last: bool) -> Call {
        let body = json!({ "hold_id": hold_id, "amount": amount, "final": last });
        self.post("/accounts/capture", body)
    }

    pub fn release(&self, hold_id: &str) -> Call {
        self.post("/accounts/release", json!({ "hold_id": hold_id }))
    }

    pub fn reverse(&self, transaction_id: &str, amount: Option<&str>) -> Call {
        let body = json!({ "transaction_id": transaction_id, "amount": amount });
        self.post("/accounts/reverse", body)
    }

    pub async fn freeze(&self, account: &str, direction: &str) {
        let body = json!({ "account_id": account, "direction": direction });
        self.post("/accounts/freeze", body).await.assert(200);
    }

    pub fn close(&self, account: &str) -> Call {
        self.post("/accounts/close", json!({ "account_id": account }))
    }

    /// The balance, the available and the held amount of an account.
    pub async fn funds(&self, account: &str) -> [String; 3] {
        let answer = self.get(&format!("/accounts/{account}/balance")).await.assert(200);
        ["balance", "available", "held"].map(|name| answer[name].as_str().unwrap().to_owned())
    }

    pub async fn balance(&self, account: &str) -> String {
        let [balance, ..] = self.funds(account).await;
        balance
    }
}

/// Inventory. Quantities are units.
impl Service {
    pub async fn add_product(&self, product: &str, stock: u64) {
        let body =
            json!({ "product_id": product, "name": product, "price": "1", "initial_stock": stock });
        self.post("/inventory/products", body).await.assert(201);
    }

    /// Reserves units for the customer carol.
    pub fn reserve(&self, product: &str, quantity: u64, ttl_ms: u64) -> Call {
        let body = json!({
            "customer_id": "carol", "product_id": product, "quantity": quantity, "ttl_ms": ttl_ms
        });
        self.post("/inventory/reserve", body)
    }

    /// The units of a product on hand, reserved and available.
    pub async fn stock(&self, product: &str) -> [u64; 3] {
        let answer = self.get(&format!("/inventory/products/{product}")).await.assert(200);
        ["on_hand", "reserved", "available"].map(|name| answer[name].as_u64().unwrap())
    }
}

/// Locks and counters.
impl Service {
    pub fn acquire(&self, lock: &str, owner: &str, ttl_ms: u64) -> Call {
        self.post("/locks", json!({ "lock": lock, "owner": owner, "ttl_ms": ttl_ms }))
    }

    pub fn increment(&self, counter: &str, by: i64) -> Call {
        self.post("/counters/increment", json!({ "counter": counter, "by": by }))
    }

    /// The value of a counter.
    pub async fn counter(&self, counter: &str) -> i64 {
        let answer = self.get(&format!("/counters/{counter}")).await.assert(200);
        answer["value"].as_i64().unwrap()
    }
}
