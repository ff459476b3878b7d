//! Tests of connections with TLS at the end of the service.

use rustix::process::Signal;

use super::*;

/// A call in flight is answered after GOAWAY, and the service ends.
#[tokio::test]
async fn calls_in_flight_are_answered() {
    let identity = Identity::new();
    let mut process = identity.serve(&[]);
    let space = unique("tls-");
    let mut http_2 = identity.http_2(&process).await;
    assert_eq!(http_2.get("/livez").await.0, 200);
    let mut sender = http_2.sender.clone().ready().await.unwrap();
    let (answer, mut sending) = sender.send_request(post(&space, "/accounts"), false).unwrap();
    // The call behind it is answered when the service has the head of the first one.
    assert_eq!(http_2.get("/livez").await.0, 200);
    process.signal(Signal::TERM);
    // The caller learns it from GOAWAY: no call can be begun any more.
    let told = async {
        while http_2.sender.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("GOAWAY");
    sending.send_data(r#"{"account_id":"a"}"#.into(), true).unwrap();
    let (head, text) = timeout(PATIENCE, answer_of(answer)).await.unwrap().unwrap();
    assert_eq!(head.status(), StatusCode::CREATED, "{text}");
    timeout(PATIENCE, http_2.connection).await.unwrap().unwrap().unwrap();
    assert!(process.wait().success());
}

/// During the delay before the end, each connection has one call at least, and is then told to go away.
#[tokio::test]
async fn the_end_is_announced_while_calls_still_work() {
    let identity = Identity::new();
    let mut process = identity.serve(&["--shutdown-delay-ms", "60000"]);
    let mut before = identity.http_2(&process).await;
    assert_eq!(before.get("/livez").await.0, 200);
    process.signal(Signal::TERM);
    timeout(PATIENCE, before.connection).await.expect("GOAWAY").unwrap().unwrap();
    let mut after = identity.http_2(&process).await;
    let space = unique("tls-");
    assert_eq!(after.post(&space, "/accounts", json!({ "account_id": "a" })).await.0, 201);
    timeout(PATIENCE, after.connection).await.expect("GOAWAY").unwrap().unwrap();
    let mut http_1 = identity.http_1(&process).await;
    http_1.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = rest(&mut http_1).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"), "{answer}");
    // The second signal waits for nothing.
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}

/// Neither idle callers nor handshakes that do not end hold up the end.
#[tokio::test]
async fn callers_that_do_nothing_do_not_hold_up_the_end() {
    let identity = Identity::new();
    let mut process = identity.serve(&[]);
    let mut handshake = TcpStream::connect(&process.address).await.unwrap();
    handshake.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut deaf = identity.raw_http_2(&process).await;
    let call = [super::frames::beginning(&[]), super::frames::get(1, "/livez")].concat();
    deaf.write_all(&call).await.unwrap();
    let mut idle = identity.http_2(&process).await;
    assert_eq!(idle.get("/livez").await.0, 200);
    process.signal(Signal::TERM);
    let ended = tokio::task::spawn_blocking(move || process.wait());
    assert!(timeout(PATIENCE, ended).await.expect("no end").unwrap().success());
}
