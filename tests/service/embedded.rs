//! Tests of the embedded server, and of the errors that prevent a start.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;

use crate::support::{Process, free_port, redis_url, unique, wait_for};

/// A temporary folder that is deleted when this value is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        Folder(std::env::temp_dir().join(unique("ls-")))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The one sentence with which `lockstep serve` refuses to start.
pub fn start_error(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--log", "off"])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "one sentence: {text}");
    assert!(text.starts_with("lockstep: ") && !text.contains("panicked"), "{text}");
    text
}

/// The processes whose command line names this folder's socket.
fn servers(folder: &Path) -> Vec<i32> {
    let socket = folder.join("redis.sock").display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains(&socket) {
            found.push(pid);
        }
    }
    found
}

#[tokio::test]
async fn keeps_its_data_over_a_restart() {
    let folder = Folder::new();
    let mut process = Process::start(&["--data-dir", folder.path()]);
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    process.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    assert_eq!(mode(&folder.0.join("redis.sock")), 0o600);
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait().success());
    assert!(servers(&folder.0).is_empty(), "it stops its server");

    let process = Process::start(&["--data-dir", folder.path()]);
    let answer = process.post("main", "/accounts", &body, "k").await.unwrap();
    assert!(answer.replayed());
    assert_eq!(answer.assert(201)["balance"], "5.00");
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let folder = Folder::new();
    let process = Process::start(&["--data-dir", folder.path()]);
    let body = json!({ "account_id": "alice", "initial_balance": "5" });
    process.post("main", "/accounts", &body, "k").await.unwrap().assert(201);
    let [server] = servers(&folder.0)[..] else { panic!("one server") };
    let pid = rustix::process::Pid::from_raw(server).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // The answer is 503 until the server is back with all its data.
    loop {
        let answer = process.get("main", "/accounts/alice/balance").await.unwrap();
        match answer.status.as_u16() {
            200 => break assert_eq!(answer.body["balance"], "5.00"),
            503 => tokio::task::yield_now().await,
            other => panic!("{other}: {:#}", answer.body),
        }
    }
}

#[test]
fn a_killed_service_takes_its_server_with_it() {
    let folder = Folder::new();
    let mut process = Process::start(&["--data-dir", folder.path()]);
    assert_eq!(servers(&folder.0).len(), 1);
    process.kill();
    wait_for("the server to end", || servers(&folder.0).is_empty().then_some(()));
}

#[test]
fn two_services_cannot_share_a_data_directory() {
    let folder = Folder::new();
    let _process = Process::start(&["--data-dir", folder.path()]);
    assert!(start_error(&["--data-dir", folder.path()]).contains("in use by another lockstep"));
}

#[test]
fn each_start_error_is_one_message() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let long = folder.0.join("x".repeat(100));
    assert!(
        start_error(&["--data-dir", long.to_str().unwrap()]).contains("too long for a unix socket")
    );
    let file = folder.0.join("file");
    std::fs::write(&file, "").unwrap();
    assert!(
        start_error(&["--data-dir", file.to_str().unwrap()])
            .contains("cannot use the data directory")
    );

    let broken = folder.0.join("broken");
    std::fs::create_dir_all(broken.join("appendonlydir")).unwrap();
    std::fs::write(broken.join("appendonlydir/appendonly.aof.manifest"), "nonsense\n").unwrap();
    assert!(
        start_error(&["--data-dir", broken.to_str().unwrap()]).contains("did not start; it said:")
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(start_error_on(&address).contains("cannot listen on"));
    assert!(start_error_on("0.0.0.0:0").contains("--insecure"));
    assert!(start_error(&["--redis-url", "http://x"]).contains("--redis-url"));
}

fn start_error_on(address: &str) -> String {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--redis-url", redis_url(), "--log", "off", "--listen", address])
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

#[test]
fn a_missing_server_program_is_named_with_its_package() {
    let folder = Folder::new();
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--log", "off", "--data-dir", folder.path()])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8(stderr).unwrap().contains("apt-get install redis-server"));
}

#[test]
fn the_healthcheck_reports_by_its_exit_status() {
    let process = Process::start(&["--redis-url", redis_url()]);
    let check = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(["healthcheck", "--listen", address]).output().unwrap().status.code()
    };
    assert_eq!(check(&process.address), Some(0));
    assert_eq!(check(&format!("127.0.0.1:{}", free_port())), Some(1));
}
