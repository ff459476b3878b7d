//! The root key: where it comes from, what it may do, and the start without one.

use std::process::Command;

use serde_json::{Value, json};

use super::ready;
use crate::support::{Process, Server, unique};

fn run(arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_first_key_is_printed_and_makes_all_others() {
    let (succeeded, key, told) = run(&["keys", "create"]);
    let key = key.trim();
    assert!(succeeded && key.starts_with("lsk_") && key.len() == 55, "{key}");
    let digest = told.split("LOCKSTEP_ROOT_KEY_SHA256=").nth(1).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    assert!(!told.contains(key));
    let server = Server::start(&[]);
    let file = std::env::temp_dir().join(unique("lockstep-root-key-")).display().to_string();
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let by_file =
        ready(Process::start(&["--redis-url", &server.url, "--root-key-file", &file])).await;
    let by_digest =
        ready(Process::start(&["--redis-url", &server.url, "--root-key-sha256", digest])).await;
    for process in [&by_file, &by_digest] {
        let body = json!({ "name": "n", "scopes": ["counters:write"], "spaces": ["*"] });
        let made = process.call(key, "POST", "/keys", &body).await.unwrap().assert(201);
        let made = made["key"].as_str().unwrap();
        let count = json!({ "counter": "c" });
        process.call(made, "POST", "/counters/increment", &count).await.unwrap().assert(200);
        // The root key manages keys and does nothing else.
        let refused = process.call(key, "POST", "/counters/increment", &count).await.unwrap();
        let refused = refused.expect_problem(403, "insufficient_scope");
        assert_eq!(refused["required"], "counters:write");
        process.get("main", "/counters/c").await.unwrap().expect_problem(401, "unauthenticated");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_start_that_would_let_strangers_in_is_refused() {
    let server = Server::start(&[]);
    let start = |arguments: &[&str]| {
        let (succeeded, _, told) = run(&[&["--redis-url", &server.url], arguments].concat());
        assert!(!succeeded, "{told}");
        assert_eq!(told.lines().filter(|line| line.starts_with("lockstep: ")).count(), 1, "{told}");
        told
    };
    let told = start(&["--listen", "0.0.0.0:0"]);
    assert!(told.contains("is not a loopback address, and callers have no keys"), "{told}");
    let told = start(&["--listen", "127.0.0.1:0", "--rls-listen", "0.0.0.0:0"]);
    assert!(told.contains("--root-key-file, or --insecure"), "{told}");
    let told = start(&["--listen", "127.0.0.1:0", "--root-key-file", "/nowhere/key"]);
    assert!(told.contains("cannot read --root-key-file /nowhere/key"), "{told}");
    let file = std::env::temp_dir().join(unique("lockstep-root-key-")).display().to_string();
    std::fs::write(&file, "lsk_typo").unwrap();
    let told = start(&["--listen", "127.0.0.1:0", "--root-key-file", &file]);
    assert!(told.contains("has no key") && !told.contains("lsk_typo"), "{told}");
    std::fs::remove_file(file).unwrap();
}

/// Data whose callers have keys are not opened to everybody by a forgotten setting.
#[tokio::test]
async fn data_with_keys_are_not_served_without_the_root_key() {
    let server = Server::start(&[]);
    let (_, key, told) = run(&["keys", "create"]);
    let digest = told.split("LOCKSTEP_ROOT_KEY_SHA256=").nth(1).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    let process = Process::start(&["--redis-url", &server.url, "--root-key-sha256", digest]);
    let body = json!({ "name": "n", "scopes": ["*"], "spaces": ["*"] });
    process.call(key.trim(), "POST", "/keys", &body).await.unwrap().assert(201);
    drop(process);
    let (succeeded, _, told) = run(&["--redis-url", &server.url, "--listen", "127.0.0.1:0"]);
    assert!(!succeeded && told.contains("the data have keys of callers"), "{told}");
    let open = Process::start(&["--redis-url", &server.url, "--insecure"]);
    open.get("main", "/counters/c").await.unwrap().assert(200);
    assert_eq!(open.get("main", "/keys").await.unwrap().body["code"], Value::from("keys_disabled"));
}
