//! Several processes of the program under load, whose statistics add up to what their callers have counted.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Monitored, of_operation};
use crate::support::{Process, race, unique, wait_for};

/// Calls of one task.
const CALLS: u64 = 100;

/// What callers have counted: for each operation its answers, by problem code or `ok`.
type Counted = BTreeMap<String, BTreeMap<String, u64>>;

/// A process that writes its access log to a file.
fn start(monitored: &Monitored) -> (Process, std::path::PathBuf) {
    let path = std::env::temp_dir().join(unique("lockstep-access-"));
    let arguments = ["--redis-url", &monitored.server.url, "--access-log", "--log-format", "json"];
    let log = File::create(&path).unwrap();
    (Process::start_at_level("info", log.into(), &arguments), path)
}

/// Calls of one task: some succeed, some are refused by a script, some by the service alone.
async fn load(process: Arc<Process>, space: String, task: usize) -> Counted {
    let mut counted = Counted::new();
    for number in 0..CALLS {
        let amount = ["0.01", "1000000", "-1", "0.02"][number as usize % 4];
        let (operation, path, body) = match number % 5 {
            0 => (
                "counters/increment",
                "/counters/increment",
                json!({ "counter": "seats", "by": 1 }),
            ),
            1 => ("accounts/get", "/accounts/nobody", Value::Null),
            _ => {
                let body =
                    json!({ "from_account": "alice", "to_account": "bob", "amount": amount });
                ("accounts/transfer", "/accounts/transfer", body)
            }
        };
        let answer = match body {
            Value::Null => process.get(&space, path).await,
            body => process.post(&space, path, &body, &format!("{task}-{number}")).await,
        };
        let answer = answer.unwrap();
        let code = answer.body["code"].as_str().unwrap_or("ok").to_owned();
        *counted.entry(operation.to_owned()).or_default().entry(code).or_default() += 1;
    }
    counted
}

/// The durations of all calls of an operation in milliseconds, in their order, as the access logs of the processes
/// have them.
fn logged_durations(logs: &[std::path::PathBuf], method: &str, route: &str) -> Vec<f64> {
    let mut durations = Vec::new();
    for path in logs {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let fields = &event["fields"];
            if event["target"] == "lockstep::access"
                && fields["method"] == method
                && fields["route"] == route
            {
                durations.push(fields["duration_ms"].as_f64().unwrap());
            }
        }
    }
    durations.sort_by(f64::total_cmp);
    durations
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_two_processes_add_up_to_what_callers_have_counted() {
    let monitored = Monitored::new();
    let service = monitored.service.clone();
    service.open("alice", "1000").await;
    service.open("bob", "0").await;
    let (one, one_log) = start(&monitored);
    let (other, other_log) = start(&monitored);
    let mut processes = [Arc::new(one), Arc::new(other)];
    let tasks =
        race(16, |task| load(Arc::clone(&processes[task % 2]), service.space.clone(), task)).await;
    let mut counted = Counted::new();
    for (operation, codes) in tasks.into_iter().flatten() {
        for (code, count) in codes {
            *counted.entry(operation.clone()).or_default().entry(code).or_default() += count;
        }
    }
    for process in &mut processes {
        process.signal(Signal::TERM);
        let process = Arc::get_mut(process).unwrap();
        assert!(wait_for("the end", || process.try_wait()).success());
    }

    let statistics = monitored.statistics("?hours=1").await;
    assert_eq!(statistics["total"]["count"], 16 * CALLS);
    for (operation, mut codes) in counted {
        let found = of_operation(&statistics, &operation);
        assert_eq!(found["succeeded"], codes.remove("ok").unwrap_or_default(), "{operation}");
        assert_eq!(found["refused"], json!(codes), "{operation}");
        assert_eq!(found["failed"], 0, "{operation}");
    }
    let logs = [one_log, other_log];
    for (operation, method, route) in [
        ("accounts/transfer", "POST", "/accounts/transfer"),
        ("counters/increment", "POST", "/counters/increment"),
        ("accounts/get", "GET", "/accounts/{account_id}"),
    ] {
        let durations = logged_durations(&logs, method, route);
        let found = of_operation(&statistics, operation);
        assert_eq!(found["count"], durations.len(), "{operation}");
        for (name, share) in [("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("max_ms", 1.0)]
        {
            let exact = durations[(durations.len() as f64 * share).ceil() as usize - 1];
            let told = found[name].as_f64().unwrap();
            assert!((told - exact).abs() <= 0.02 * exact, "{operation} {name}: {told} for {exact}");
        }
        let mean = durations.iter().sum::<f64>() / durations.len() as f64;
        let told = found["mean_ms"].as_f64().unwrap();
        assert!((told - mean).abs() <= 0.001, "{operation}: {told} for {mean}");
    }
    logs.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_only_what_was_not_stored_yet() {
    let monitored = Monitored::new();
    let mut process = Process::start(&["--redis-url", &monitored.server.url]);
    let space = monitored.service.space.clone();
    let body = json!({ "counter": "seats", "by": 1 });
    process.post(&space, "/counters/increment", &body, "first").await.unwrap().assert(200);
    let mut stored = 0;
    while stored == 0 {
        stored = monitored.statistics("").await["total"]["count"].as_u64().unwrap();
    }
    assert_eq!(stored, 1);
    for number in 0..20 {
        process
            .post(&space, "/counters/increment", &body, &number.to_string())
            .await
            .unwrap()
            .assert(200);
    }
    process.kill();
    let left = monitored.statistics("").await["total"]["count"].as_u64().unwrap();
    assert!((1..=21).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_statistics_stores_none() {
    let monitored = Monitored::new();
    let arguments = ["--redis-url", &monitored.server.url, "--statistics", "false"];
    let mut process = Process::start(&arguments);
    let space = &monitored.service.space;
    let body = json!({ "counter": "seats", "by": 1 });
    process.post(space, "/counters/increment", &body, "first").await.unwrap().assert(200);
    process.get(space, "/accounts/nobody").await.unwrap().expect_problem(404, "account_not_found");
    let contention = process.get(space, "/monitoring/contention").await.unwrap().assert(200);
    assert_eq!(contention["conflicts"], 0);
    process.signal(Signal::TERM);
    assert!(wait_for("the end", || process.try_wait()).success());
    assert_eq!(monitored.statistics("").await["total"]["count"], 0);
    let keys =
        crate::support::all_keys(&mut monitored.server.connection(), "lockstep:{monitoring}:*");
    assert_eq!(keys, [] as [&str; 0]);
}
