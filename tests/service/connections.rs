//! Tests of connections that are slow, idle, too many, or open during shutdown.

use std::time::Duration;

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Process, redis_url, unique};

const BODY: &str = r#"{"account_id":"alice"}"#;

fn head(space: &str, more: &str) -> String {
    format!(
        "POST /accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nLockstep-Space: {space}\r\n\
         Content-Length: {}\r\n{more}\r\n",
        BODY.len()
    )
}

/// Everything until the other side closes the connection; panics after 20 s.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await;
    let _ = read.expect("the connection should have been closed");
    String::from_utf8_lossy(&text).into_owned()
}

fn service(more: &[&str]) -> Process {
    Process::start(&[&["--redis-url", redis_url()], more].concat())
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let process = service(&["--first-byte-timeout-ms", "100"]);
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_slow_head_is_closed() {
    let process = service(&["--header-timeout-ms", "100"]);
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(b"POST /accounts HTTP/1.1\r\nHo").await.unwrap();
    rest(&mut stream).await;
    // A connection that is idle after an answer is closed too.
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let process = service(&["--body-timeout-ms", "100"]);
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    let head = head(&unique("slow-"), "Connection: close\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&BODY.as_bytes()[..5]).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("\"request_timeout\""),
        "{answer}"
    );
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let process = service(&["--max-connections", "1"]);
    let mut first = TcpStream::connect(&process.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(&process.address).await.unwrap();
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(timeout(Duration::from_millis(200), second.read_exact(&mut byte)).await.is_err());
    drop(first);
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn shutdown_finishes_requests_in_flight_and_refuses_new_ones() {
    let mut process = service(&[]);
    let space = unique("drain-");
    let mut inside = TcpStream::connect(&process.address).await.unwrap();
    inside.write_all(head(&space, "Expect: 100-continue\r\n").as_bytes()).await.unwrap();
    // The server asks for the body only once the request is in its handler.
    let mut interim = [0; 25];
    inside.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue"));

    process.signal(Signal::TERM);
    let late = loop {
        let mut late = TcpStream::connect(&process.address).await.unwrap();
        late.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let answer = rest(&mut late).await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
    };
    assert!(late.starts_with("HTTP/1.1 503") && late.contains("\"shutting_down\""), "{late}");
    assert!(late.contains("retry-after: 1"), "{late}");

    inside.write_all(BODY.as_bytes()).await.unwrap();
    let answer = rest(&mut inside).await;
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
    assert!(process.wait().success());
}

#[tokio::test]
async fn shutdown_ends_after_the_drain_timeout() {
    let mut process = service(&["--drain-timeout-ms", "100"]);
    let mut inside = TcpStream::connect(&process.address).await.unwrap();
    inside.write_all(head("never", "").as_bytes()).await.unwrap();
    process.signal(Signal::INT);
    assert!(process.wait().success());
}

#[tokio::test]
async fn pipelined_requests_are_answered_and_malformed_ones_refused() {
    let process = service(&[]);
    let space = unique("pipe-");
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    let two = format!("{}{BODY}{}{BODY}", head(&space, ""), head(&space, "Connection: close\r\n"));
    stream.write_all(two.as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    assert!(answers.contains("HTTP/1.1 201") && answers.contains("HTTP/1.1 409"), "{answers}");
    for broken in ["\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(broken.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(process.get(&space, "/livez").await.unwrap().status.as_u16(), 200);
}
