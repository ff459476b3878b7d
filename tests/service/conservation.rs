//! Conservation of money: the balances of a space and currency add up to zero, through races and
//! through the sudden end of processes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::{
    audit::Audit,
    support::{Answer, Process, Service, race, race_each, redis_url, unique},
};

/// A pseudo-random sequence that is the same in every run.
pub struct Numbers(u64);

impl Numbers {
    pub fn of(seed: u64) -> Numbers {
        Numbers(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_transfers_keep_the_sum() {
    let service = Service::new();
    for account in 0..20 {
        let overdraft = if account % 4 == 0 { "25" } else { "0" };
        let body = json!({
            "account_id": format!("a{account}"), "initial_balance": "100", "overdraft_limit": overdraft
        });
        service.post("/accounts", body).await.assert(201);
    }
    let done = Arc::new(AtomicUsize::new(0));
    let tasks = race_each(0..64_u64, |task| {
        let (service, done) = (service.clone(), Arc::clone(&done));
        async move {
            let mut numbers = Numbers::of(task);
            while done.fetch_add(1, Ordering::Relaxed) < 10_000 {
                // Two of the 22 accounts do not exist, and both sides may be the same.
                let (from, to) = (numbers.below(22), numbers.below(22));
                let amount = format!("{}.{:02}", numbers.below(60), numbers.below(100));
                let answer =
                    service.transfer(&format!("a{from}"), &format!("a{to}"), &amount).await;
                let code = answer.body["code"].as_str().unwrap_or("ok");
                let expected = match answer.status.as_u16() {
                    201 => code == "ok",
                    404 => code == "account_not_found" && (from > 19 || to > 19),
                    409 => code == "insufficient_funds",
                    422 => code == "same_account" && from == to || code == "amount_not_positive",
                    _ => false,
                };
                assert!(expected, "{from} -> {to}: {:#}", answer.body);
            }
        }
    });
    Audit::during(&service, tasks).await;
    let mut total = 0.0;
    for account in 0..20 {
        let balance: f64 = service.balance(&format!("a{account}")).await.parse().unwrap();
        assert!(balance >= if account % 4 == 0 { -25.0 } else { 0.0 }, "a{account}: {balance}");
        total += balance;
    }
    assert!((total - 2000.0).abs() < 0.001, "{total}");
    assert_eq!(service.sum("USD"), 0);
}

/// Sends a command under an idempotency key until it is answered, while processes are killed and
/// replaced.
pub async fn persist(
    process: &tokio::sync::RwLock<Process>,
    space: &str,
    path: &str,
    body: &Value,
    key: &str,
) -> Answer {
    loop {
        let process = process.read().await;
        let answer = process.post(space, path, body, key).await;
        match answer.as_ref().map(|answer| answer.status.as_u16()) {
            Some(200 | 201) => return answer.unwrap(),
            // The process was killed before, during or after the call, or a new one is not ready yet.
            None | Some(503 | 504) => tokio::task::yield_now().await,
            Some(other) => panic!("{other}"),
        }
    }
}

/// Kills the process as soon as this many calls have been answered, twice, and starts another one in
/// its place.
pub async fn replace_after(
    counts: [usize; 2],
    answered: &AtomicUsize,
    process: &tokio::sync::RwLock<Process>,
    start: impl Fn() -> Process,
) {
    for count in counts {
        while answered.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
        // Callers have the read lock only during a call, so the process is killed before it is
        // replaced.
        process.read().await.signal(rustix::process::Signal::KILL);
        let mut current = process.write().await;
        current.kill();
        *current = start();
    }
}

/// 16 callers pay under idempotency keys while the service is killed twice, half of them by a hold and
/// its capture. A caller without an answer sends again under the same key to the next process. In the
/// end each payment has happened once.
async fn payments_survive(start: impl Fn() -> Process, space: String) {
    let process = Arc::new(tokio::sync::RwLock::new(start()));
    {
        let process = process.read().await;
        for (account, balance) in [("alice", "1000"), ("bob", "0")] {
            let body = json!({ "account_id": account, "initial_balance": balance });
            process.post(&space, "/accounts", &body, account).await.unwrap().assert(201);
        }
    }
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks = race(16, |task| {
        let (process, space, answered) = (process.clone(), space.clone(), answered.clone());
        async move {
            for payment in 0..30 {
                let mut body =
                    json!({ "from_account": "alice", "to_account": "bob", "amount": "1" });
                let key = format!("pay-{task}-{payment}");
                if task % 2 == 0 {
                    persist(&process, &space, "/accounts/transfer", &body, &key).await;
                } else {
                    body["ttl_ms"] = 3_600_000.into();
                    let hold = persist(&process, &space, "/accounts/hold", &body, &key).await.body;
                    let body = json!({ "hold_id": hold["hold_id"], "final": false });
                    let key = format!("{key}-capture");
                    persist(&process, &space, "/accounts/capture", &body, &key).await;
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    replace_after([100, 300], &answered, &process, start).await;
    tasks.await;
    let process = process.read().await;
    let balance = |account: &'static str| {
        let (process, space) = (&process, space.clone());
        async move {
            let path = format!("/accounts/{account}/balance");
            process.get(&space, &path).await.unwrap().assert(200)
        }
    };
    assert_eq!(balance("bob").await["balance"], "480.00");
    let alice = balance("alice").await;
    assert_eq!((&alice["balance"], &alice["held"]), (&json!("520.00"), &json!("0.00")));
    let books = process.get(&space, "/accounts/integrity").await.unwrap().assert(200);
    assert_eq!(books["currencies"][0]["ok"], true, "{books:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_loses_and_repeats_nothing() {
    let service = Service::new();
    let paying =
        payments_survive(|| Process::start(&["--redis-url", redis_url()]), service.space.clone());
    Audit::during(&service, paying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_with_its_own_server_loses_and_repeats_nothing() {
    let folder = std::env::temp_dir().join(unique("ls-"));
    let data = folder.to_str().unwrap().to_owned();
    payments_survive(|| Process::start(&["--data-dir", &data]), "main".to_owned()).await;
    std::fs::remove_dir_all(folder).unwrap();
}
