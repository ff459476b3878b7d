//! Tests of HTTP/1.1 and HTTP/2 over TLS, and of callers that speak neither.

use super::*;

#[tokio::test]
async fn both_protocols_answer_the_same() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let space = unique("tls-");
    let mut http_2 = identity.http_2(&process).await;
    let opening = json!({ "account_id": "a", "initial_balance": "1.00" });
    let (status, opened) = http_2.post(&space, "/accounts", opening).await;
    assert_eq!((status, &opened["balance"]), (201, &json!("1.00")), "{opened}");
    let read = Request::get(url("/accounts/a")).header("lockstep-space", &space).body(());
    let (status, read) = http_2.send(read.unwrap(), None).await;
    assert_eq!((status, &read["balance"]), (200, &json!("1.00")), "{read}");

    // Who offers nothing gets HTTP/1.1, too.
    for protocols in [&["http/1.1"][..], &[], &["http/1.1", "h2"]] {
        let mut stream = identity.connect(&process, protocols).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol();
        if protocols.contains(&"h2") {
            assert_eq!(chosen, Some(&b"h2"[..]), "the service prefers HTTP/2");
            continue;
        }
        assert_eq!(chosen, protocols.first().map(|name| name.as_bytes()));
        let head =
            format!("GET /accounts/a HTTP/1.1\r\nHost: localhost\r\nLockstep-Space: {space}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), read);
    }
    assert!(identity.connect(&process, &["spdy/3"]).await.is_err());
}

/// A connection of HTTP/1.1 that is parked between two calls, or while its caller waits, goes on.
#[tokio::test]
async fn a_parked_connection_goes_on() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let space = unique("tls-");
    let mut http_2 = identity.http_2(&process).await;
    let lock = json!({ "lock": "l", "owner": "me", "ttl_ms": 3_600_000 });
    let (status, lease) = http_2.post(&space, "/locks", lock).await;
    assert_eq!(status, 201, "{lease}");

    let mut stream = identity.http_1(&process).await;
    let body = r#"{"lock":"l","owner":"you","wait_ms":25000}"#;
    let waiting = format!(
        "POST /locks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nLockstep-Space: {space}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let second = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // The second call comes with the one that waits, and the third when the connection is parked.
    stream.write_all(format!("{livez}{waiting}{livez}").as_bytes()).await.unwrap();
    wait_for_metric(&mut http_2, "lockstep_http_connections_waiting 1").await;
    stream.write_all(second.as_bytes()).await.unwrap();
    let release = json!({ "lock": "l", "lease_id": lease["lease_id"] });
    assert_eq!(http_2.post(&space, "/locks/release", release).await.0, 200);
    let answers = rest(&mut stream).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses, ["200", "201", "200", "200"], "{answers}");
}

#[tokio::test]
async fn a_caller_without_tls_is_told_so() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    for (bytes, is_http) in [
        (&b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], true),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
        (b"\x00\x01\x02 nonsense", false),
        // What begins like a handshake and is none.
        (b"\x16\x03\x01\x00\x05hello", false),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", false),
    ] {
        let mut stream = TcpStream::connect(&process.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let answer = rest(&mut stream).await;
        assert_eq!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), is_http, "{answer:?}");
        assert_eq!(answer.ends_with("use https.\n"), is_http, "{answer:?}");
    }
    assert!(identity.is_served(&process).await);
}

/// A body that nobody reads costs neither the answer nor the connection.
#[tokio::test]
async fn a_refused_body_leaves_the_connection_open() {
    let identity = Identity::new();
    let process = identity.serve(&["--body-limit-bytes", "100000"]);
    let mut http_2 = identity.http_2(&process).await;
    for declared in [true, false] {
        let mut request = post("main", "/accounts");
        if declared {
            request.headers_mut().insert("content-length", 3_000_000.into());
        }
        let mut sender = http_2.sender.clone().ready().await.unwrap();
        let (answer, mut sending) = sender.send_request(request, false).unwrap();
        let body = Bytes::from(vec![b' '; 3_000_000]);
        // The rest is not taken any more, once the answer is there.
        sending.send_data(body, true).unwrap();
        let (head, text) = timeout(PATIENCE, answer_of(answer)).await.unwrap().unwrap();
        assert_eq!(head.status(), StatusCode::PAYLOAD_TOO_LARGE, "{text}");
        assert!(text.contains("payload_too_large"), "{text}");
    }
    assert_eq!(http_2.get("/livez").await.0, 200);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let mut http_2 = identity.http_2(&process).await;
    for (path, status) in [("/livez", 200), ("/nope", 404), ("/accounts/nobody", 404)] {
        let request = Request::head(url(path)).body(()).unwrap();
        let (head, text) = http_2.send_to_end(request, None).await.unwrap();
        assert_eq!((head.status().as_u16(), text.as_str()), (status, ""), "{path}");
    }
}

/// A service without keys on loopback answers only for loopback's names.
#[tokio::test]
async fn a_foreign_authority_is_refused() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let mut http_2 = identity.http_2(&process).await;
    for (authority, host, expected) in [
        ("localhost", None, Ok(200)),
        ("127.0.0.1:1234", None, Ok(200)),
        ("localhost", Some("localhost"), Ok(200)),
        ("evil.example", None, Err("host_not_allowed")),
        ("localhost", Some("evil.example"), Err("invalid_host")),
        ("evil.example", Some("localhost"), Err("invalid_host")),
    ] {
        let mut request = Request::get(format!("https://{authority}/livez"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (status, body) = http_2.send(request.body(()).unwrap(), None).await;
        match expected {
            Ok(expected) => assert_eq!(status, expected, "{authority} {host:?} {body}"),
            Err(code) => assert_eq!(body["code"], code, "{authority} {host:?}"),
        }
    }
}

/// Calls without a valid key are counted by the address at the other end, whatever the protocol.
#[tokio::test]
async fn failures_are_counted_by_address() {
    let identity = Identity::new();
    let digest = "00".repeat(32);
    let process =
        identity.serve(&["--root-key-sha256", &digest, "--auth-failures", "2", "--insecure"]);
    let mut http_2 = identity.http_2(&process).await;
    loop {
        let (status, body) = http_2.get("/accounts/a").await;
        if status != 503 {
            assert_eq!(status, 401, "{body}");
            break;
        }
    }
    let mut stream = identity.http_1(&process).await;
    assert!(ask_once(&mut stream, "GET /accounts/a", "").await.starts_with("HTTP/1.1 401"));
    assert_eq!(http_2.get("/accounts/a").await.1["code"], "too_many_failures");
}

async fn wait_for_metric(http_2: &mut Http2, line: &str) {
    let waiting = async {
        loop {
            let request = Request::get(url("/metrics")).body(()).unwrap();
            let (_, text) = http_2.send_to_end(request, None).await.unwrap();
            if text.lines().any(|found| found == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(line);
}
