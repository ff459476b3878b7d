//! The cost of the check of a caller's key: CPU time of a call that no handler sends to Redis, with keys and without, in
//! turns, and of the check alone. `cargo bench --bench keys` prints it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, header},
};
use lockstep::{
    api::{AccessControl, AccessSettings, Limits, ShutdownGate, check_requirement},
    app::{self, app},
    auth::{CallerKey, KeyRing, KnownKey, Principal, Requirement, ScopeSet, SpaceSet},
    store::{Access, Retention, Settings, Store},
    types::Id,
};
use tower::ServiceExt;

const ROUNDS: usize = 9;
const CALLS: u64 = 50_000;
/// The keys that the ring has beside the one that calls.
const OTHERS: usize = 5000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

/// Nanoseconds of CPU that this thread has had.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// A store without a server: no call of this program gets that far.
fn store() -> Store {
    let retention = Retention { idempotency_ttl_ms: 1000, transaction_ttl_ms: 1000, history: 1000 };
    let settings = Settings {
        url: "redis://127.0.0.1:1".to_owned(),
        access: Access::default(),
        batch_workers: 1,
        transactions: 1,
        queue: 8,
        queue_bytes: 1 << 20,
        timeout: Duration::from_secs(1),
        wait_replicas: 0,
        wait_timeout: Duration::from_millis(1),
        retention,
    };
    Store::open(&settings).unwrap()
}

/// A ring with many keys, and one of them.
fn ring() -> (Arc<KeyRing>, CallerKey) {
    let space = Id::try_from("keys".to_owned()).unwrap();
    let ring = KeyRing::new(space, CallerKey::generate().unwrap().digest());
    let known = |key: &CallerKey| {
        let scopes = ScopeSet::new(["accounts:read", "ratelimit:write"]);
        let principal = Principal::new(key.id(), "bench", scopes, SpaceSet::all());
        KnownKey::new(principal, 1, key.digest(), 0)
    };
    let key = CallerKey::generate().unwrap();
    let mut all: Vec<_> = (0..OTHERS).map(|_| known(&CallerKey::generate().unwrap())).collect();
    all.push(known(&key));
    ring.replace(1, all);
    ring.set_clock(1_769_860_800_000);
    (Arc::new(ring), key)
}

fn router(store: &Store, access: Option<AccessSettings>) -> Router {
    let settings = app::RouterSettings { access, ..app::RouterSettings::default() };
    app(store.clone(), ShutdownGate::new(Limits::default()), &settings)
}

/// CPU nanoseconds of a call that its handler refuses for its query.
async fn call_ns(router: &Router, key: &HeaderValue) -> f64 {
    let before = cpu_ns();
    for _ in 0..CALLS {
        let request = Request::get("/ratelimit/authorize")
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, key.clone())
            .body(Body::empty());
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 400);
    }
    (cpu_ns() - before) as f64 / CALLS as f64
}

/// CPU nanoseconds of the check alone.
fn check_ns(access: &AccessControl, headers: &HeaderMap, requirement: &Requirement) -> f64 {
    let before = cpu_ns();
    for _ in 0..CALLS {
        let principal = access.check_key(std::hint::black_box(headers), None).unwrap();
        check_requirement(&principal, requirement).unwrap();
    }
    (cpu_ns() - before) as f64 / CALLS as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn run() {
    let store = store();
    let (ring, key) = ring();
    let settings = AccessSettings { ring, failures_per_minute: 100, trusted_proxies: Vec::new() };
    let (open, keyed) = (router(&store, None), router(&store, Some(settings.clone())));
    let value = HeaderValue::try_from(format!("Bearer {}", key.text())).unwrap();
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.clone())]);
    let access = AccessControl::new(settings);
    let requirement = Requirement::of_operation("accounts/get", false, None, false).unwrap();
    let (mut without, mut with, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(call_ns(&open, &value).await);
        with.push(call_ns(&keyed, &value).await);
        alone.push(check_ns(&access, &headers, &requirement));
    }
    let (without, with, alone) = (median(without), median(with), median(alone));
    println!("| CPU of a call | ns |");
    println!("| --- | ---: |");
    println!("| without keys | {without:.0} |");
    println!("| with keys | {with:.0} |");
    println!("| difference | {:.0} |", with - without);
    println!("| the check of key and scope alone | {alone:.0} |");
}
