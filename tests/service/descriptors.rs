//! Tests of a small limit of open files: callers wait, and the way to Redis stays open.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Server, free_port, unique, wait_until};

struct Limited {
    child: Child,
    address: String,
    log: String,
}

impl Limited {
    /// Starts the service with limits of open files as `ulimit` takes them.
    fn start(limits: &str, arguments: &[&str]) -> Limited {
        let log = std::env::temp_dir().join(unique("ls-log-")).display().to_string();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{limits}; exec \"$@\""))
            .args([
                "sh",
                env!("CARGO_BIN_EXE_lockstep"),
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
            ])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([' ', '/']).next());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        Limited { child, address, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

const READ: &[u8] = b"GET /counters/none HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends a read on a connection and returns the status of its answer.
async fn status(stream: &mut TcpStream) -> u16 {
    stream.write_all(READ).await.unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.ends_with(b"}") {
        let read = timeout(Duration::from_secs(20), stream.read(&mut part)).await;
        match read.expect("an answer").unwrap() {
            0 => break,
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    String::from_utf8(answer).unwrap()[9..12].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_take_all_descriptors_leave_the_way_to_redis_open() {
    let port = free_port();
    let server = Server::start_on(port);
    let url = format!("redis://127.0.0.1:{port}");
    let service = Limited::start("ulimit -n 256", &["--redis-url", &url]);
    let log = service.log();
    assert!(log.contains("256") && log.contains("allows fewer connections"), "{log}");
    let mut calling = TcpStream::connect(&service.address).await.unwrap();
    assert_eq!(status(&mut calling).await, 200);
    // More idle callers than there are descriptors; those past the cap wait in the backlog.
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(&service.address).await.unwrap());
    }
    drop(server);
    assert_eq!(status(&mut calling).await, 503);
    let _server = Server::start_on(port);
    let mut again = 503;
    let is_other = async || {
        again = status(&mut calling).await;
        again != 503
    };
    wait_until("the service to reach Redis again", is_other).await;
    assert_eq!(again, 200);
    assert!(!service.log().contains("could not accept"), "{}", service.log());
    drop(idle);
}

#[test]
fn a_soft_limit_is_raised() {
    let server = Server::start(&[]);
    let arguments = ["--redis-url", &server.url, "--max-connections", "100"];
    let service = Limited::start("ulimit -S -n 64", &arguments);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!((165..=1000).contains(&soft), "{line}");
    assert_eq!(service.log(), "");
}

#[test]
fn a_limit_that_is_too_small_for_redis_alone_ends_the_start() {
    let ended = Command::new("sh")
        .arg("-c")
        .arg("ulimit -n 48; exec \"$@\"")
        .args(["sh", env!("CARGO_BIN_EXE_lockstep"), "--listen", "127.0.0.1:0"])
        .args(["--redis-url", "redis://127.0.0.1:1"])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the limit of open files is 48") && said.contains("ulimit -n"), "{said}");
}
