//! Tests of connections that are slow, idle, too many, refused in the middle of a body, or open during a
//! shutdown.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Barrier,
    time::timeout,
};

use crate::support::{Process, redis_url, unique, wait_until};

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BODY: &str = r#"{"account_id":"alice"}"#;

fn head(space: &str, more: &str) -> String {
    format!(
        "POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nLockstep-Space: {space}\r\n\
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

/// The status and the head of the next answer, whose body is read too.
async fn read_answer(stream: &mut TcpStream) -> (u16, String) {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        (head[9..12].parse().unwrap(), head)
    };
    timeout(Duration::from_secs(20), reading).await.expect("no answer")
}

/// Waits until so many connections have been idle for a while.
async fn wait_until_idle(process: &Process, count: usize) {
    wait_for_gauge(process, &format!("lockstep_http_connections_idle {count}")).await;
}

async fn wait_for_gauge(process: &Process, line: &str) {
    let is_there = async || process.get_text("/metrics").await.lines().any(|found| found == line);
    wait_until(line, is_there).await;
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
    assert_eq!(rest(&mut stream).await, "");
    // So is one whose second head is slow, on a connection that was answered before.
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(LIVEZ).await.unwrap();
    stream.write_all(b"GET /li").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_has_a_time_of_its_own() {
    let process = service(&["--header-timeout-ms", "100", "--keep-alive-timeout-ms", "1"]);
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(LIVEZ).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));

    // The default is long: a head that comes later than its own timeout after an answer is answered.
    let process = service(&["--header-timeout-ms", "100"]);
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(LIVEZ).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.0, 200);
        wait_until_idle(&process, 1).await;
    }
    // The beginning of a head ends the idle time and begins the time for the head.
    stream.write_all(b"G").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn idle_connections_answer_the_next_call() {
    let process = service(&[]);
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(LIVEZ).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.0, 200);
        streams.push(stream);
    }
    wait_until_idle(&process, 50).await;
    for stream in &mut streams {
        let space = unique("idle-");
        // In two parts, the first of which wakes the connection.
        let call = format!("{}{BODY}", head(&space, ""));
        stream.write_all(&call.as_bytes()[..10]).await.unwrap();
        stream.write_all(&call.as_bytes()[10..]).await.unwrap();
        assert_eq!(read_answer(stream).await.0, 201);
    }
}

/// A call that waits for the lock `l`, with these headers.
fn waiting_call(space: &str, version: &str, more: &str) -> String {
    let body = r#"{"lock":"l","owner":"you","wait_ms":25000}"#;
    format!(
        "POST /locks HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\nLockstep-Space: {space}\r\n\
         Content-Length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

/// Acquires the lock `l` for longer than a test, and returns the body that releases it.
async fn held(process: &Process, space: &str) -> Value {
    let body = json!({ "lock": "l", "owner": "me", "ttl_ms": 3_600_000 });
    let lease = process.post(space, "/locks", &body, "held").await.unwrap().assert(201);
    json!({ "lock": "l", "lease_id": lease["lease_id"] })
}

/// A connection that is parked while its caller waits goes on after the answer as any other, or ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_is_answered_as_if_nobody_had_waited() {
    let process = service(&[]);
    for (version, more, stays) in [
        ("1.1", "", true),
        ("1.1", "X-Request-Id: r-1\r\nExpect: 100-continue\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
    ] {
        let space = unique("waits-");
        let release = held(&process, &space).await;
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(waiting_call(&space, version, more).as_bytes()).await.unwrap();
        if more.contains("Expect") {
            assert_eq!(read_answer(&mut stream).await.0, 100);
        }
        wait_for_gauge(&process, "lockstep_http_connections_waiting 1").await;
        process.post(&space, "/locks/release", &release, "release").await.unwrap().assert(200);
        let (status, head) = read_answer(&mut stream).await;
        assert_eq!(status, 201, "{head}");
        assert!(head.starts_with("http/1.") && head.contains("\r\ndate: "), "{head}");
        assert_eq!(head.contains("x-request-id: r-1"), more.contains("r-1"), "{head}");
        wait_for_gauge(&process, "lockstep_http_connections_waiting 0").await;
        if stays {
            stream.write_all(LIVEZ).await.unwrap();
            assert_eq!(read_answer(&mut stream).await.0, 200, "{version} {more}");
        } else {
            assert_eq!(rest(&mut stream).await, "", "{version} {more}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_come_during_a_wait_are_answered_after_it() {
    let process = service(&[]);
    let space = unique("waits-");
    let release = held(&process, &space).await;
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    // One comes together with the call that waits, others when its connection is parked.
    let first = [waiting_call(&space, "1.1", "").as_bytes(), LIVEZ].concat();
    stream.write_all(&first).await.unwrap();
    wait_for_gauge(&process, "lockstep_http_connections_waiting 1").await;
    for part in [LIVEZ, &LIVEZ[..10], &LIVEZ[10..], &LIVEZ[..5]] {
        stream.write_all(part).await.unwrap();
    }
    process.post(&space, "/locks/release", &release, "release").await.unwrap().assert(200);
    assert_eq!(read_answer(&mut stream).await.0, 201);
    for _ in 0..3 {
        assert_eq!(read_answer(&mut stream).await.0, 200);
    }
    stream.write_all(&LIVEZ[5..]).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.0, 200);
}

/// It has sent another call during its wait, and still is noticed to have gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_during_a_wait_leaves_the_queue() {
    let process = service(&[]);
    let space = unique("waits-");
    held(&process, &space).await;
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    stream.write_all(waiting_call(&space, "1.1", "").as_bytes()).await.unwrap();
    wait_for_gauge(&process, "lockstep_http_connections_waiting 1").await;
    stream.write_all(LIVEZ).await.unwrap();
    drop(stream);
    wait_for_gauge(&process, "lockstep_http_connections_waiting 0").await;
    wait_for_gauge(&process, "lockstep_lock_waiters 0").await;
    let is_empty =
        async || process.get(&space, "/locks/l").await.unwrap().assert(200)["queue_length"] == 0;
    wait_until("an empty queue", is_empty).await;
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

/// Begins a call whose body has five million bytes, and leaves the last of them out.
async fn begin_large_call(process: &Process) -> TcpStream {
    let mut stream = TcpStream::connect(&process.address).await.unwrap();
    let head = head(&unique("large-"), "").replace(&BODY.len().to_string(), "5000000");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 5_000_000 - BODY.len()]).await.unwrap();
    stream
}

/// Two large bodies do not fit into the memory that all bodies share: one is refused. A small one needs none of it.
#[tokio::test]
async fn bodies_that_arrive_share_a_bound() {
    let process = service(&["--store-queue-bytes", "100", "--body-limit-bytes", "9000000"]);
    let [mut one, mut other] = [begin_large_call(&process).await, begin_large_call(&process).await];
    let refused = async {
        tokio::select! {
            (status, _) = read_answer(&mut one) => (status, false),
            (status, _) = read_answer(&mut other) => (status, true),
        }
    };
    let (status, goes_on) = timeout(Duration::from_secs(20), refused).await.expect("a refusal");
    assert_eq!(status, 503);
    let body = json!({ "account_id": "alice" });
    process.post_once(&unique("small-"), "/accounts", &body).await.unwrap().assert(201);
    let mut left = if goes_on { one } else { other };
    left.write_all(BODY.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut left).await.0, 201);
}

/// Newcomers wait for the service in the queue of the system, so that a crowd of them is not told to come again later.
#[tokio::test]
async fn a_crowd_of_newcomers_finds_room() {
    let process = service(&[]);
    process.signal(Signal::STOP);
    let crowd = (0..500).map(|_| TcpStream::connect(&process.address));
    let connected = timeout(Duration::from_secs(20), join_all(crowd)).await;
    process.signal(Signal::CONT);
    for stream in connected.expect("room for all") {
        let mut stream = stream.unwrap();
        stream.write_all(LIVEZ).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.0, 200);
    }
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let process = service(&["--max-connections", "1"]);
    // In the middle of a call: one that is idle would make room.
    let mut first = TcpStream::connect(&process.address).await.unwrap();
    let head = head(&unique("limit-"), "Expect: 100-continue\r\n");
    first.write_all(head.as_bytes()).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(&process.address).await.unwrap();
    second
        .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(timeout(Duration::from_millis(200), second.read_exact(&mut byte)).await.is_err());
    drop(first);
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 200"));
}

/// A new connection is let in where an idle one can make room.
#[tokio::test]
async fn an_idle_connection_makes_room_for_a_new_one() {
    let process = service(&["--max-connections", "1"]);
    let mut idle = TcpStream::connect(&process.address).await.unwrap();
    idle.write_all(LIVEZ).await.unwrap();
    assert_eq!(read_answer(&mut idle).await.0, 200);
    let mut second = TcpStream::connect(&process.address).await.unwrap();
    second.write_all(LIVEZ).await.unwrap();
    assert_eq!(read_answer(&mut second).await.0, 200);
    assert_eq!(rest(&mut idle).await, "");
}

/// Calls that are refused before their body is read, each as the beginning of its head.
const REFUSED: [(&str, u16); 6] = [
    ("PUT /accounts HTTP/1.1\r\nContent-Type: application/json", 405),
    ("POST /nowhere HTTP/1.1\r\nContent-Type: application/json", 404),
    ("POST /accounts HTTP/1.1\r\nContent-Type: text/plain", 415),
    ("POST /accounts HTTP/1.1\r\nContent-Type: application/json\r\nIdempotency-Key: \"", 400),
    ("POST /accounts HTTP/1.1\r\nContent-Type: application/json\r\nLockstep-Space: {}", 422),
    ("POST /bulk HTTP/1.1\r\nContent-Type: application/json", 415),
];

/// A caller may write its whole body before it reads, as most clients do. Whatever is refused, it
/// reads the refusal.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_caller_that_first_sends_its_body() {
    let process = service(&[]);
    for size in [100, 60_000, 260_000, 4_000_000] {
        for (start, status) in REFUSED {
            for chunked in [false, true] {
                let mut stream = TcpStream::connect(&process.address).await.unwrap();
                let length = match chunked {
                    false => format!("Content-Length: {size}"),
                    true => "Transfer-Encoding: chunked".to_owned(),
                };
                let head = format!("{start}\r\nHost: localhost\r\n{length}\r\n\r\n");
                let body = vec![b'x'; size];
                let body = match chunked {
                    false => body,
                    true => [format!("{size:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat(),
                };
                let case = format!("{size} bytes, chunked: {chunked}, {start}");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap_or_else(|error| panic!("{case}: {error}"));
                let (found, head) = read_answer(&mut stream).await;
                assert_eq!(found, status, "{case}");
                assert!(head.contains("content-type: application/problem+json"), "{case}: {head}");
                // Either the connection goes on, or the answer has said that it ends.
                match head.contains("connection: close") {
                    true => assert_eq!(rest(&mut stream).await, "", "{case}"),
                    false => {
                        stream.write_all(LIVEZ).await.unwrap();
                        assert_eq!(read_answer(&mut stream).await.0, 200, "{case}");
                    }
                }
                assert!(size > 60_000 || !head.contains("connection: close"), "{case}");
            }
        }
    }
}

/// The same for a body that is larger than the limit, and for one that is refused while it is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_in_order() {
    let process = service(&["--body-limit-bytes", "1000"]);
    for (start, body) in [
        ("Content-Length: 4000000\r\n\r\n", vec![b'x'; 4_000_000]),
        ("Transfer-Encoding: chunked\r\n\r\n3d0900\r\n", vec![b'x'; 4_000_000]),
    ] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        let head = format!(
            "POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{start}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let (status, head) = read_answer(&mut stream).await;
        assert!(status == 413 && head.contains("connection: close"), "{head}");
        assert_eq!(rest(&mut stream).await, "");
    }
}

/// A caller that asks first is refused without having to send its body.
#[tokio::test]
async fn a_refused_body_is_not_asked_for() {
    let process = service(&[]);
    for (start, status) in REFUSED {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        let head = format!(
            "{start}\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (found, head) = read_answer(&mut stream).await;
        assert!(found == status && head.contains("connection: close"), "{start}: {head}");
    }
}

#[tokio::test]
async fn a_head_is_refused_above_its_limit() {
    let process = service(&[]);
    for (bytes, expected) in
        [(1000, "HTTP/1.1 200"), (60_000, "HTTP/1.1 200"), (70_000, "HTTP/1.1 431")]
    {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        let padding = "x".repeat(bytes);
        let head = format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nx: {padding}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with(expected), "{bytes}: {answer}");
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let process = service(&[]);
    for (head, expected) in [
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /livez HTTP/1.0\r\n", 200),
        ("GET /livez HTTP/1.1\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n", 400),
        ("GET /livez HTTP/1.0\r\nHost: localhost\r\nHost: y\r\n", 400),
    ] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        let status: u16 = answer[9..12].parse().unwrap();
        assert_eq!(status, expected, "{head:?}: {answer}");
        assert_eq!(answer.contains("\"invalid_host\""), expected == 400, "{head:?}: {answer}");
    }
}

/// Two callers that send and never read would otherwise lock out everybody.
#[tokio::test(flavor = "multi_thread")]
async fn callers_who_do_not_read_are_cut_off() {
    let process = service(&["--max-connections", "2", "--body-timeout-ms", "300"]);
    let lines = "POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                 Content-Length: 900000000\r\n\r\n";
    let requests = "GET /problems HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    let mut open = Vec::new();
    for (first, more) in [(lines, "x\n".repeat(8000)), ("", requests)] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        // Until the service takes no more, because its answers are not read.
        let sending = async { while stream.write_all(more.as_bytes()).await.is_ok() {} };
        let _ = timeout(Duration::from_secs(2), sending).await;
        open.push(stream);
    }
    let mut newcomer = TcpStream::connect(&process.address).await.unwrap();
    newcomer.write_all(LIVEZ).await.unwrap();
    assert_eq!(read_answer(&mut newcomer).await.0, 200);
}

/// A request that is cut off, and one whose caller has gone, leave nothing open.
#[tokio::test]
async fn connections_that_callers_leave_are_closed() {
    let process = service(&[]);
    for start in [
        "GET /li",
        "POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
        "POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 10\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
    }
    wait_for_gauge(&process, "lockstep_http_connections 1").await;
}

/// Callers on busy connections: each call is answered, and the last answer of a connection says that it
/// is the last one.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_leaves_no_call_unanswered() {
    let mut process = service(&["--shutdown-delay-ms", "200"]);
    let ready = Arc::new(Barrier::new(31));
    let callers: Vec<_> = (0..30)
        .map(|_| {
            let (address, ready) = (process.address.clone(), Arc::clone(&ready));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(&address).await.unwrap();
                let mut answers = 0;
                loop {
                    let call = format!("{}{BODY}", head(&unique("busy-"), ""));
                    stream.write_all(call.as_bytes()).await.unwrap();
                    let (status, head) = read_answer(&mut stream).await;
                    assert!(status == 201 || status == 503, "{head}");
                    answers += 1;
                    if answers == 3 {
                        ready.wait().await;
                    }
                    if head.contains("connection: close") {
                        return (status, rest(&mut stream).await);
                    }
                }
            })
        })
        .collect();
    ready.wait().await;
    process.signal(Signal::TERM);
    for caller in callers {
        // They worked to the end: the delay is long enough for all of them.
        assert_eq!(caller.await.unwrap(), (201, String::new()));
    }
    assert!(process.wait().success());
}

#[tokio::test]
async fn shutdown_is_announced_while_calls_still_work() {
    let mut process = service(&["--shutdown-delay-ms", "60000"]);
    process.get("main", "/readyz").await.unwrap().assert(200);
    process.signal(Signal::TERM);
    let refused = loop {
        let answer = process.get("main", "/readyz").await.unwrap();
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.header("connection"), Some("close"));
    refused.expect_problem(503, "shutting_down");
    let space = unique("leaving-");
    let opened = process.post(&space, "/accounts", &json!({ "account_id": "a" }), "k").await;
    opened.unwrap().assert(201);
    // The second signal waits for nothing.
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}

#[tokio::test]
async fn a_second_signal_ends_a_drain() {
    let mut process = service(&["--drain-timeout-ms", "60000"]);
    let mut inside = TcpStream::connect(&process.address).await.unwrap();
    inside.write_all(head("never", "Expect: 100-continue\r\n").as_bytes()).await.unwrap();
    inside.read_u8().await.unwrap();
    process.signal(Signal::INT);
    let drains = async || process.get("main", "/livez").await.unwrap().status != 200;
    wait_until("the drain", drains).await;
    process.signal(Signal::INT);
    assert!(process.wait().success());
}

#[tokio::test]
async fn a_hangup_is_no_reason_to_end() {
    let mut process = service(&[]);
    process.signal(Signal::HUP);
    process.get("main", "/readyz").await.unwrap().assert(200);
    process.signal(Signal::TERM);
    assert!(process.wait().success());
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
        late.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
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
