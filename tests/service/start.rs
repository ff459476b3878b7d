//! Tests of the start: the service answers from the first moment, says why it is not ready, ends when it
//! is told to, and serves once the server does.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    embedded::Folder,
    support::{Process, Server, Service, free_port, unique, wait_for},
};

/// A service that may not be ready yet, killed when this value is dropped.
struct Starting {
    child: Child,
    port: u16,
    log: String,
}

impl Starting {
    fn with(arguments: &[&str], path: Option<&str>) -> Starting {
        let port = free_port();
        let log = std::env::temp_dir().join(unique("ls-log-")).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]).args(arguments);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        Starting { child: command.spawn().unwrap(), port, log }
    }

    /// The status line and the body of one read, as soon as the service listens.
    fn get(&self, path: &str) -> String {
        let mut stream =
            wait_for("the service to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it by SIGTERM; it has to end by itself.
    fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = wait_for("the end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{}", self.log());
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// Ten minutes: a service that waits for the store does not end within a test.
const LONG: &[&str] = &["--store-timeout-ms", "600000"];

#[test]
fn a_server_that_never_answers_holds_up_neither_livez_nor_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let mut starting = Starting::with(&[&["--redis-url", &url], LONG].concat(), None);
    assert!(starting.get("/livez").starts_with("HTTP/1.1 200"));
    let not_ready = starting.get("/readyz");
    assert!(not_ready.starts_with("HTTP/1.1 503"), "{not_ready}");
    assert!(not_ready.contains("the service has not looked at it yet"), "{not_ready}");
    let call = starting.get("/accounts/alice");
    assert!(call.starts_with("HTTP/1.1 503") && call.contains("store_unavailable"), "{call}");
    starting.stop();
}

#[test]
fn an_embedded_server_that_reads_its_data_holds_up_neither_livez_nor_the_end() {
    let folder = Folder::new();
    let bin = format!("{}/bin", folder.path());
    std::fs::create_dir_all(&bin).unwrap();
    // The real server, once the test says so.
    let server = std::env::var("LOCKSTEP_TEST_SERVER").unwrap_or("redis-server".to_owned());
    let path = std::env::var("PATH").unwrap();
    let script = format!(
        "#!/bin/sh\nPATH='{path}'\nuntil [ -e '{bin}/go' ]; do sleep 0.02; done\nexec '{server}' \"$@\"\n"
    );
    let program = format!("{bin}/redis-server");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let data = format!("{}/data", folder.path());

    let mut starting = Starting::with(&["--data-dir", &data], Some(&bin));
    assert!(starting.get("/livez").starts_with("HTTP/1.1 200"));
    let not_ready = starting.get("/readyz");
    assert!(not_ready.contains("the service has not looked at it yet"), "{not_ready}");
    starting.stop();

    let mut starting = Starting::with(&["--data-dir", &data], Some(&bin));
    assert!(starting.get("/livez").starts_with("HTTP/1.1 200"));
    std::fs::write(format!("{bin}/go"), "").unwrap();
    wait_for("the service to be ready", || {
        starting.get("/readyz").starts_with("HTTP/1.1 200").then_some(())
    });
    starting.stop();
}

/// No call is sent before the format of the data has been looked at, and calls are served soon after.
#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let process = Process::start_logging_to(Stdio::null(), &["--redis-url", &url]);
    let refused = process.get("main", "/accounts/alice").await.unwrap();
    refused.expect_problem(503, "store_unavailable");
    let server = Server::start_on(port);
    let body = json!({ "account_id": "alice" });
    loop {
        let answer = process.post("main", "/accounts", &body, "k").await.unwrap();
        if answer.status.as_u16() == 201 {
            break;
        }
        answer.expect_problem(503, "store_unavailable");
        tokio::task::yield_now().await;
    }
    let format: Option<String> = redis::cmd("GET")
        .arg("lockstep:format")
        .query(&mut redis::Client::open(url).unwrap().get_connection().unwrap())
        .unwrap();
    let settled = format!("{{\"format\":{}}}", lockstep::store::FORMAT);
    assert_eq!(format, Some(settled));
    drop(server);
}

/// The log says what the server says, and nothing that is guessed.
#[test]
fn the_log_has_the_true_reason_why_the_server_does_not_serve() {
    let server = Server::start(&[]);
    server.command("ACL SETUSER lockstep on >secret ~* +@all");
    let address = server.url.trim_start_matches("redis://").to_owned();
    for (url, reason) in [
        (format!("redis://lockstep:wrong@{address}"), "WRONGPASS"),
        (format!("redis://nobody:secret@{address}"), "WRONGPASS"),
        (format!("redis://lockstep:secret@{address}/99"), "DB index is out of range"),
        (format!("redis://127.0.0.1:{}", free_port()), "Connection refused"),
    ] {
        let mut starting = Starting::with(&["--redis-url", &url, "--log", "warn"], None);
        let log = wait_for("the reason in the log", || {
            let log = starting.log();
            log.contains("Redis does not serve yet").then_some(log)
        });
        assert!(log.contains(reason), "{url}: {log}");
        let not_ready = starting.get("/readyz");
        assert!(
            not_ready.contains(reason) && not_ready.contains("store_unavailable"),
            "{not_ready}"
        );
        starting.stop();
        let lines =
            starting.log().lines().filter(|line| line.contains("does not serve yet")).count();
        assert_eq!(lines, 1, "the same reason is logged once");
    }
}

#[test]
fn an_eviction_policy_is_warned_of_and_nothing_else_is_taken_for_one() {
    for (arguments, warning) in [
        (&["--maxmemory-policy", "allkeys-lru"][..], Some("can evict money: set it to noeviction")),
        (&[], None),
    ] {
        let server = Server::start(arguments);
        // Without CONFIG, which the service never needs.
        server.command("ACL SETUSER default -config");
        let mut starting = Starting::with(&["--redis-url", &server.url, "--log", "warn"], None);
        wait_for("the service to be ready", || {
            starting.get("/readyz").starts_with("HTTP/1.1 200").then_some(())
        });
        let log = starting.log();
        let warnings = log.lines().filter(|line| line.contains("maxmemory-policy")).count();
        assert_eq!(warnings, usize::from(warning.is_some()), "{log}");
        assert!(log.contains(warning.unwrap_or_default()), "{log}");
        starting.stop();
    }
}

/// What the server refuses midway is 503 and has not happened, whatever refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_midway_is_not_applied() {
    let password = "CONFIG SET requirepass secret";
    for (refusal, needs_new_connection) in [
        (password, true),
        ("ACL SETUSER default -evalsha", false),
        ("ACL SETUSER default -time", false),
        ("ACL SETUSER default -mget", false),
        ("ACL SETUSER default -rpush -mset", false),
        ("ACL SETUSER default -@all +ping", false),
        ("ACL SETUSER default resetkeys ~lockstep-data:*", false),
    ] {
        let server = Server::start(&[]);
        let service = Service::on_own_redis(&server);
        service.open("alice", "1").await;
        let watching = json!({ "watch": ["n"], "operations": [{ "type": "incr", "key": "n" }] });
        service.post("/transactions", watching.clone()).await.assert(200);
        let mut direct = server.connection();
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg("admin")
            .arg("on")
            .arg(">x")
            .arg("~*")
            .arg("+@all")
            .exec(&mut direct)
            .unwrap();
        redis::cmd("AUTH").arg("admin").arg("x").exec(&mut direct).unwrap();
        let mut command = redis::cmd("EVAL");
        command.arg("return redis.sha1hex(table.concat(redis.call('KEYS', '*'), ' '))").arg(0);
        let before: String = command.query(&mut direct).unwrap();

        let words: Vec<&str> = refusal.split(' ').collect();
        let mut change = redis::cmd(words[0]);
        for word in &words[1..] {
            change.arg(word);
        }
        change.exec(&mut direct).unwrap();
        let mut refused = 0;
        if needs_new_connection {
            redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut direct).unwrap();
        }
        for call in [
            service.deposit("alice", "1"),
            service.deposit("alice", "1").key("k"),
            service.get("/accounts/alice/balance"),
            service.post("/transactions", watching),
        ] {
            let answer = call.await;
            if answer.status.as_u16() == 200 {
                // It needs no right that is missing.
                continue;
            }
            let problem = answer.expect_problem(503, "store_unavailable");
            assert_eq!(problem["outcome"], "not_applied", "{refusal}");
            refused += 1;
        }
        assert!(refused >= 2, "{refusal}: both deposits at least");
        service.get("/readyz").await.expect_problem(503, "store_unavailable");
        let after: String = command.query(&mut direct).unwrap();
        assert_eq!(before, after, "{refusal}");
    }
}

#[tokio::test]
async fn a_server_whose_evalsha_is_switched_off_is_unavailable() {
    let server = Server::start(&["--rename-command", "EVALSHA", "''"]);
    let service = Service::on_own_redis(&server);
    let body = json!({ "account_id": "alice" });
    let problem = service.post("/accounts", body).await.expect_problem(503, "store_unavailable");
    assert_eq!(problem["outcome"], "not_applied");
    service.get("/accounts/alice").await.expect_problem(503, "store_unavailable");
}
