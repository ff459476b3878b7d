//! Tests of `--access-log`: one line for each call, with nothing of its body.

use std::{fs::File, process::Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Process, redis_url, unique, wait_for};

/// Runs a program with these further arguments, has it answer a few calls, and returns its log.
async fn log_of(level: &str, arguments: &[&str]) -> String {
    let path = std::env::temp_dir().join(unique("lockstep-log-"));
    let log = Stdio::from(File::create(&path).unwrap());
    let arguments = [&["--redis-url", redis_url()], arguments].concat();
    let mut process = Process::start_at_level(level, log, &arguments);
    let space = unique("logged-");
    let body = json!({
        "account_id": "alice", "initial_balance": "1234.56", "metadata": { "card": "4111-1111" }
    });
    process.post(&space, "/accounts", &body, "a-secret-key").await.unwrap().assert(201);
    process.get(&space, "/accounts/nobody").await.unwrap().expect_problem(404, "account_not_found");
    process
        .get(&space, "/nowhere?token=hidden")
        .await
        .unwrap()
        .expect_problem(404, "route_not_found");
    process.signal(Signal::TERM);
    assert!(wait_for("the end", || process.try_wait()).success());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    text
}

fn calls(log: &str) -> Vec<Value> {
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    events.filter(|event| event["target"] == "lockstep::access").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_line_without_its_body() {
    let log = log_of("info", &["--access-log", "--log-format", "json"]).await;
    let calls = calls(&log);
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            let fields = &call["fields"];
            assert!(fields["duration_ms"].as_f64().unwrap() > 0.0);
            assert_eq!(fields["request_id"].as_str().unwrap().len(), 36);
            assert_eq!(call["level"], "INFO");
            (fields["method"].clone(), fields["route"].clone(), fields["status"].clone())
        })
        .collect();
    assert_eq!(
        told,
        [
            (json!("POST"), json!("/accounts"), json!(201)),
            (json!("GET"), json!("/accounts/{account_id}"), json!(404)),
            (json!("GET"), json!("none"), json!(404)),
        ]
    );
    for secret in
        ["1234.56", "4111", "alice", "nobody", "a-secret-key", "hidden", "nowhere", "\u{1b}"]
    {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_a_target_of_its_own_and_is_off_by_default() {
    let log = log_of("warn,lockstep::access=info", &["--access-log", "--log-format", "json"]).await;
    assert_eq!((calls(&log).len(), log.lines().count()), (3, 3), "{log}");
    let log = log_of("info", &["--log-format", "json"]).await;
    assert_eq!(calls(&log).len(), 0, "{log}");
    let text = log_of("info", &["--access-log"]).await;
    assert_eq!(text.lines().filter(|line| line.contains("lockstep::access")).count(), 3, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}
