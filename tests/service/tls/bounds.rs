//! Tests of what a connection with TLS may cost: its handshake, its heads, its answers, its idle time, and the number
//! of its calls.

use super::{frames::*, *};

/// Some bytes of a handshake, and no more.
const BEGINNING: &[u8] = b"\x16\x03\x01\x02\x00\x01";

#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let identity = Identity::new();
    let process = identity.serve(&["--header-timeout-ms", "200", "--first-byte-timeout-ms", "100"]);
    for bytes in [&b""[..], BEGINNING] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }
    // So is a caller that does nothing more after its handshake, in both protocols.
    let mut stream = identity.http_1(&process).await;
    assert_eq!(rest(&mut stream).await, "");
    let mut stream = identity.raw_http_2(&process).await;
    to_end(&mut stream).await;
    let mut stream = identity.raw_http_2(&process).await;
    stream.write_all(&beginning(&[])).await.unwrap();
    to_end(&mut stream).await;
}

#[tokio::test]
async fn a_handshake_counts_as_a_connection() {
    let identity = Identity::new();
    let process = identity.serve(&["--max-connections", "1", "--header-timeout-ms", "300"]);
    let mut slow = TcpStream::connect(&process.address).await.unwrap();
    slow.write_all(BEGINNING).await.unwrap();
    let (ended, served) = tokio::join!(rest(&mut slow), identity.is_served(&process));
    assert_eq!((ended.as_str(), served), ("", true));
}

/// While all connections are taken, one that is idle makes room.
#[tokio::test]
async fn an_idle_connection_makes_room() {
    let identity = Identity::new();
    let process = identity.serve(&["--max-connections", "1"]);
    let mut first = identity.http_2(&process).await;
    assert_eq!(first.get("/livez").await.0, 200);
    assert!(identity.is_served(&process).await);
    timeout(PATIENCE, first.connection).await.expect("GOAWAY").unwrap().unwrap();
    let mut first = identity.http_1(&process).await;
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    assert!(identity.is_served(&process).await);
    rest(&mut first).await;
}

#[tokio::test]
async fn an_idle_connection_has_a_time_of_its_own() {
    let identity = Identity::new();
    let process = identity.serve(&["--keep-alive-timeout-ms", "100"]);
    let mut http_2 = identity.http_2(&process).await;
    assert_eq!(http_2.get("/livez").await.0, 200);
    timeout(PATIENCE, http_2.connection).await.expect("GOAWAY").unwrap().unwrap();
    // A caller that does not go away is not waited for.
    let mut stream = identity.raw_http_2(&process).await;
    stream.write_all(&[beginning(&[]), get(1, "/livez")].concat()).await.unwrap();
    assert_eq!(farewell(&to_end(&mut stream).await), Some(0));
}

/// A head that does not end keeps the caller from the sign of life that it is asked for.
#[tokio::test]
async fn a_slow_head_of_http_2_is_cut() {
    let identity = Identity::new();
    let timeouts = ["--header-timeout-ms", "200", "--body-timeout-ms", "200"];
    let process = identity.serve(&timeouts);
    for part in [
        frame(HEADERS, END_STREAM, 1, &head("GET", "/livez", &[])),
        get(1, "/livez")[..12].to_vec(),
    ] {
        let mut stream = identity.raw_http_2(&process).await;
        stream.write_all(&[beginning(&[]), part].concat()).await.unwrap();
        to_end(&mut stream).await;
    }
    // One that gives signs of life stays.
    let mut http_2 = identity.http_2(&process).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(http_2.get("/livez").await.0, 200);
    }
}

/// A caller that gives signs of life, but no room for its answer, is cut.
#[tokio::test]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let identity = Identity::new();
    let process = identity.serve(&["--body-timeout-ms", "300"]);
    // Without any room, and with room for a beginning of the answer.
    for (window, path) in
        [(0, "/openapi.json"), (1, "/openapi.json"), (60_000, "/openapi.json"), (0, "/livez")]
    {
        let mut stream = identity.raw_http_2(&process).await;
        let call = [beginning(&[(INITIAL_WINDOW_SIZE, window)]), get(1, path)].concat();
        stream.write_all(&call).await.unwrap();
        let mut taken = 0;
        while let Some(received) = next(&mut stream).await {
            match received.kind {
                PING if received.flags & ACK == 0 => {
                    let pong = frame(PING, ACK, 0, &received.payload);
                    let _ = stream.write_all(&pong).await;
                }
                DATA => taken += received.payload.len(),
                _ => {}
            }
        }
        assert_eq!(taken, usize::try_from(window).unwrap(), "{path}");
    }
    // So is one that reads nothing at all, in both protocols.
    for protocol in ["h2", "http/1.1"] {
        let mut stream = identity.connect(&process, &[protocol]).await.unwrap();
        let openapi = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        if protocol == "h2" {
            const LARGE: u32 = 1 << 30;
            stream.write_all(&beginning(&[(INITIAL_WINDOW_SIZE, LARGE)])).await.unwrap();
            let window = frame(8, 0, 0, &LARGE.to_be_bytes());
            stream.write_all(&window).await.unwrap();
        }
        // More answers than the buffers of both sides have room for.
        let cut = async {
            let mut call = 0;
            loop {
                let bytes = match protocol {
                    "h2" => get(2 * call + 1, "/openapi.json"),
                    _ => openapi.as_bytes().to_vec(),
                };
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                call += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, cut).await.unwrap_or_else(|_| panic!("{protocol} was not cut"));
    }
    assert!(identity.is_served(&process).await);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let mut http_2 = identity.http_2(&process).await;
    for bytes in [60_000, 70_000] {
        let request = Request::get(url("/livez")).header("x-large", "a".repeat(bytes)).body(());
        let answer = http_2.send_to_end(request.unwrap(), None).await;
        let status = answer.map(|(head, _)| head.status().as_u16());
        match bytes {
            60_000 => assert_eq!(status.unwrap(), 200),
            _ => assert!(status.is_err() || status.as_ref().unwrap() == &431, "{status:?}"),
        }
    }
    assert!(identity.is_served(&process).await);
}

/// All connections of HTTP/2 together have as many calls in progress as there may be connections.
#[tokio::test]
async fn calls_beyond_the_bound_of_all_connections_are_taken_back() {
    const BOUND: usize = 3;
    let identity = Identity::new();
    let process = identity.serve(&["--max-connections", "3"]);
    // The lock is acquired and released elsewhere, so that no other call is in progress here.
    let (elsewhere, space) = (Process::shared(), unique("tls-"));
    let lock = json!({ "lock": "l", "owner": "me", "ttl_ms": 3_600_000 });
    let lease = elsewhere.post_once(&space, "/locks", &lock).await.unwrap().assert(201);

    let mut clients = [identity.http_2(&process).await, identity.http_2(&process).await];
    let waiting = json!({ "lock": "l", "owner": "you", "wait_ms": 25_000 });
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..10 {
        let request = post(&space, "/locks");
        let answer = clients[call % 2].begin(request, Some(waiting.clone())).await.unwrap();
        calls.spawn(answer_of(answer));
    }
    for _ in BOUND..10 {
        let refused = timeout(PATIENCE, calls.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(refused.unwrap_err().reason(), Some(h2::Reason::REFUSED_STREAM));
    }
    // All others wait, so that there is no room for another one either.
    let another = Request::get(url("/livez")).body(()).unwrap();
    let refused = clients[0].send_to_end(another, None).await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    let release = json!({ "lock": "l", "lease_id": lease["lease_id"] });
    elsewhere.post_once(&space, "/locks/release", &release).await.unwrap().assert(200);
    let (head, text) =
        timeout(PATIENCE, calls.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(head.status(), StatusCode::CREATED, "{text}");
    // What is given up makes room as well.
    calls.abort_all();
    let served = async {
        loop {
            let request = Request::get(url("/livez")).body(()).unwrap();
            if let Ok((head, _)) = clients[1].send_to_end(request, None).await {
                return head.status();
            }
        }
    };
    assert_eq!(timeout(PATIENCE, served).await.unwrap(), StatusCode::OK);
}
