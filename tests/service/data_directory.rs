//! Tests of the data directory: any path works, data that the server would not read prevent the start, and
//! backup, restore and moving work as `docs/operations.md` says.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    embedded::{Folder, start_error},
    support::{Process, wait_for},
};

async fn open_alice(folder: &str) {
    let mut process = Process::start(&["--data-dir", folder]);
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    process.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}

async fn assert_has_alice(folder: &str) {
    let process = Process::start(&["--data-dir", folder]);
    let answer = process.get("main", "/accounts/alice/balance").await.unwrap();
    assert_eq!(answer.assert(200)["balance"], "5.00");
}

/// Blanks at the ends of a setting are trimmed, so no name here begins or ends with one.
#[tokio::test]
async fn every_path_works() {
    let folder = Folder::new();
    for name in [
        "a#b", "a?b", "a%41", "%", "%2F", "a\\b", "\\", "a b", "\"", "'", "a\"b'c", "ü", "a\nb",
        "~", "$HOME", "`x`", "{a}", "[b]", "*", ";", "-", "--dir", "a=b&c", "@", ":", "a\tb",
        "..a",
    ] {
        let data = format!("{}/{name}", folder.path());
        open_alice(&data).await;
        assert!(Path::new(&data).join("appendonlydir").is_dir(), "{name:?}");
        assert_has_alice(&data).await;
    }
}

/// A name that is no UTF-8, given by the working directory.
#[test]
fn a_path_that_is_no_text_works() {
    let folder = Folder::new();
    let data = PathBuf::from(folder.path()).join(OsStr::from_bytes(b"\xff\xfe"));
    std::fs::create_dir_all(&data).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--log", "warn", "--data-dir", "data"])
        .current_dir(&data)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let manifest = data.join("data/appendonlydir/appendonly.aof.manifest");
    wait_for("the server's files", || manifest.exists().then_some(()));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_path_that_cannot_work_is_told_before_the_service_listens() {
    let folder = Folder::new();
    for (name, sentence) in [
        ("x".repeat(100), "too long for a unix socket"),
        ("x".repeat(300), "cannot use the data directory"),
        (format!("{}{}", "x/".repeat(60), "y"), "too long for a unix socket"),
        ("x".repeat(5000), "cannot use the data directory"),
    ] {
        let error = start_error(&["--data-dir", &format!("{}/{name}", folder.path())]);
        assert!(error.contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn data_that_the_server_would_not_read_prevent_the_start() {
    let folder = Folder::new();
    open_alice(folder.path()).await;
    let files = Path::new(folder.path()).join("appendonlydir");
    let manifest = files.join("appendonly.aof.manifest");
    let moved = Path::new(folder.path()).join("moved");

    std::fs::rename(&manifest, &moved).unwrap();
    let error = start_error(&["--data-dir", folder.path()]);
    assert!(error.contains("no appendonly.aof.manifest"), "{error}");
    std::fs::rename(&moved, &manifest).unwrap();
    assert_has_alice(folder.path()).await;

    std::fs::rename(&files, &moved).unwrap();
    std::fs::write(Path::new(folder.path()).join("dump.rdb"), "").unwrap();
    let error = start_error(&["--data-dir", folder.path()]);
    assert!(error.contains("has a dump.rdb and no appendonlydir"), "{error}");
    assert!(!files.exists(), "nothing was begun");
    std::fs::rename(&moved, &files).unwrap();
    // Beside a manifest the snapshot is of no importance.
    assert_has_alice(folder.path()).await;
}

#[tokio::test]
async fn data_that_vanish_while_the_service_runs_are_not_replaced_by_an_empty_store() {
    let folder = Folder::new();
    let process = Process::start_logging_to(Stdio::null(), &["--data-dir", folder.path()]);
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    process.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    std::fs::remove_dir_all(Path::new(folder.path()).join("appendonlydir")).unwrap();
    let socket = format!("{}/redis.sock", folder.path());
    run(&["redis-cli", "-s", &socket, "SHUTDOWN", "NOSAVE", "FORCE"]);
    for _ in 0..30 {
        let answer = process.get("main", "/accounts/alice/balance").await.unwrap();
        answer.expect_problem(503, "store_unavailable");
    }
    assert!(!Path::new(folder.path()).join("appendonlydir").exists());
}

/// Runs a program of the documentation and returns what it prints.
fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_backup_of_a_running_service_can_be_restored() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let process = Process::start(&["--data-dir", &data]);
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    process.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    let socket = format!("{data}/redis.sock");
    let cli = |words: &[&str]| run(&[&["redis-cli", "-s", &socket], words].concat());
    assert_eq!(cli(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0"]).trim(), "OK");
    wait_for("no rewrite", || {
        cli(&["INFO", "persistence"]).contains("aof_rewrite_in_progress:0").then_some(())
    });
    let backup = format!("{}/backup", folder.path());
    std::fs::create_dir_all(&backup).unwrap();
    run(&["cp", "-a", &format!("{data}/appendonlydir"), &backup]);
    assert_eq!(cli(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "100"]).trim(), "OK");
    drop(process);
    // The backup is the directory of the restored service, and can be at another place.
    assert_has_alice(&backup).await;
}

#[tokio::test]
async fn a_snapshot_can_be_restored() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    open_alice(&data).await;
    let restored = format!("{}/restored", folder.path());
    // A snapshot of the data, as from a server of one's own.
    {
        let process = Process::start(&["--data-dir", &data]);
        let socket = format!("{data}/redis.sock");
        assert_eq!(run(&["redis-cli", "-s", &socket, "SAVE"]).trim(), "OK");
        drop(process);
    }
    std::fs::create_dir_all(&restored).unwrap();
    std::fs::rename(format!("{data}/dump.rdb"), format!("{restored}/dump.rdb")).unwrap();
    assert!(start_error(&["--data-dir", &restored]).contains("dump.rdb"));

    let program = std::env::var("LOCKSTEP_TEST_SERVER").unwrap_or("redis-server".to_owned());
    let socket = format!("{restored}/convert.sock");
    let mut server = Command::new(program)
        .args(["--port", "0", "--unixsocket", &socket, "--dir", &restored, "--save", ""])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let cli = |words: &[&str]| run(&[&["redis-cli", "-s", &socket], words].concat());
    wait_for("the server", || (cli(&["PING"]).trim() == "PONG").then_some(()));
    assert_eq!(cli(&["CONFIG", "SET", "appendonly", "yes"]).trim(), "OK");
    wait_for("the append-only files", || {
        let info = cli(&["INFO", "persistence"]);
        (info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0"))
            .then_some(())
    });
    cli(&["SHUTDOWN", "NOSAVE"]);
    server.wait().unwrap();
    assert_has_alice(&restored).await;
}
