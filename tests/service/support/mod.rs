//! A test's tools: a Redis (`server`), a cluster of several (`cluster`), an address in front of it (`relay`), a proxy that
//! loses its replies (`lossy`), the service in this process (`service`) or as a program (`process`), a user of Redis (`redis_user`), the answers of both
//! (`answer`), scripts without a service (`script`), many callers at once (`race`), the contents of a space (`keys`), and
//! checks that several operations share (`checks`).

mod answer;
mod call;
mod checks;
#[allow(dead_code, reason = "only tests/distributed uses it")]
mod cluster;
mod keys;
mod lossy;
mod process;
mod race;
mod redis_user;
mod relay;
mod script;
mod server;
mod service;

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

pub use self::{
    answer::Answer,
    call::Call,
    checks::{Paging, assert_if_match, assert_rejects_invalid_paging, pages},
    cluster::Cluster,
    keys::{all_keys, pack_account, seed},
    lossy::LossyProxy,
    process::Process,
    race::{race, race_each},
    redis_user::url_without,
    relay::Relay,
    script::{Step, run_step_at},
    server::{Server, owner_of, raw, redis_url},
    service::Service,
};
#[allow(unused_imports, reason = "only tests/distributed uses them")]
pub use self::{cluster::slot_of, redis_user::documented_rules};

/// An hour in milliseconds: long enough that the duration of a test never decides its result.
pub const HOUR: i64 = 3_600_000;

/// One entry of `operations` in a call of `POST /atomic`.
pub fn operation(name: &str, input: Value) -> Value {
    json!({ "operation": name, "input": input })
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A port of the loopback interface on which nothing listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Polls every 10 ms until `condition` gives a value, and panics after 20 s. Tests wait for conditions
/// and never for a fixed time.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

/// Asks every millisecond until `condition` is true, and panics after 20 s.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), asking).await.is_err() {
        panic!("waited in vain for {what}");
    }
}
