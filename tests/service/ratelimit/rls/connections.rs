use std::time::Duration;

use lockstep::rls::messages::{LimitCode, RateLimitRequest, RateLimitResponse};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use super::{Gateway, Rls, bounds, descriptor, user};
use crate::{
    ratelimit::{put, rules},
    support::{Process, Service, free_port, redis_url},
};

/// What a connection of HTTP/2 begins with, and an empty SETTINGS frame.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Writes one frame of HTTP/2.
fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// The head of a request, in HPACK: POST, http, and a path and an authority as literals.
fn head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (index, text) in [(0x04, lockstep::rls::messages::SHOULD_RATE_LIMIT), (0x01, "lockstep")] {
        head.extend_from_slice(&[index, u8::try_from(text.len()).unwrap()]);
        head.extend_from_slice(text.as_bytes());
    }
    head
}

/// Sends bytes, reads until the service ends the connection, and returns the kind of each frame that came.
async fn frames_until_the_end(rls: &Rls, bytes: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(&rls.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let (_, read) = tokio::join!(writer.write_all(bytes), async {
        let mut read = Vec::new();
        let reading = reader.read_to_end(&mut read);
        // A reset is an end too.
        let _ = timeout(Duration::from_secs(20), reading).await.expect("the end of the connection");
        read
    });
    let mut kinds = Vec::new();
    let mut rest = read.as_slice();
    while let [a, b, c, kind, ..] = rest {
        kinds.push(*kind);
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    kinds
}

/// A service with a policy `api` of 1,000 units.
async fn rls(service: &Service) -> Rls {
    put(service, "api", &rules(1000)[3]).await.assert(201);
    Rls::of(service).await
}

async fn assert_answers(rls: &Rls) {
    assert_eq!(rls.ask(vec![user("api")]).await.unwrap().overall_code(), LimitCode::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_its_connection_only() {
    let service = Service::new();
    let rls = rls(&service).await;
    assert_answers(&rls).await;
    let mut flood = BEGINNING.to_vec();
    for stream in (1..20_000).step_by(2) {
        frame(&mut flood, HEADERS, END_HEADERS, stream, &head());
        frame(&mut flood, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    let kinds = frames_until_the_end(&rls, &flood).await;
    assert!(kinds.contains(&GOAWAY), "{kinds:?}");
    assert_answers(&rls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_an_end_ends_its_connection_only() {
    let service = Service::new();
    let rls = rls(&service).await;
    let mut flood = BEGINNING.to_vec();
    frame(&mut flood, HEADERS, 0, 1, &head());
    for _ in 0..5000 {
        // A literal without a place in the table: the name `a` and a value of 120 bytes.
        let field = [&[0, 1, b'a', 120][..], &[b'x'; 120]].concat();
        frame(&mut flood, CONTINUATION, 0, 1, &field);
    }
    frames_until_the_end(&rls, &flood).await;
    assert_answers(&rls).await;
}

/// Each of these frames wants an answer, and the caller reads none.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_settings_that_reads_nothing_holds_up_nobody() {
    let service = Service::new();
    let rls = rls(&service).await;
    let mut stream = TcpStream::connect(&rls.address).await.unwrap();
    stream.write_all(BEGINNING).await.unwrap();
    let flood = b"\0\0\0\x04\0\0\0\0\0".repeat(10_000);
    // Once the answers fill all buffers, nothing more is taken.
    let mut written = 0;
    while let Ok(Ok(more)) = timeout(Duration::from_millis(300), stream.write(&flood)).await {
        written += more;
        assert!(written < 256 << 20, "{written} bytes were taken");
    }
    assert_answers(&rls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_sends_nothing_or_another_protocol_is_closed() {
    let service = Service::new();
    let mut short = bounds();
    short.timeouts.first_byte = Duration::from_millis(50);
    let rls = Rls::with(&service, short).await;
    for bytes in [&b""[..], &BEGINNING[..10]] {
        assert_eq!(frames_until_the_end(&rls, bytes).await, [0; 0]);
    }
    frames_until_the_end(&rls, b"GET / HTTP/1.1\r\nHost: lockstep\r\n\r\n").await;
}

/// Past the cap a connection waits until another one ends.
#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_wait() {
    let service = Service::new();
    put(&service, "api", &rules(9)[3]).await.assert(201);
    let one = lockstep::rls::Bounds { max_connections: 1, ..bounds() };
    let rls = Rls::with(&service, one).await;
    assert_answers(&rls).await;
    let second = Gateway::to(&rls.address, &service.space);
    let mut waiting = tokio::spawn(async move { second.ask(vec![user("api")]).await });
    assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    // The one connection that is open ends with its channel.
    let (address, domain) = (rls.address.clone(), service.space.clone());
    let mut rls = rls;
    rls.gateway = Gateway::to(&address, &domain);
    let answer = timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.overall_code(), LimitCode::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_messages_that_are_too_large_or_none() {
    let service = Service::new();
    let small = lockstep::rls::Bounds { body_limit_bytes: 1000, ..bounds() };
    let rls = Rls::with(&service, small).await;
    let long = descriptor(&[("user", &"x".repeat(1000))]);
    let refused = rls.ask(vec![long]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    assert!(refused.message().starts_with("payload_too_large: "), "{refused}");

    // A message of the health service is no request of this one: its field 1 would be the domain, and field 7 has
    // a type that no decoder takes.
    let mut client = Grpc::new(rls.gateway.channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<RateLimitResponse, RateLimitResponse>::default();
    let path = PathAndQuery::from_static(lockstep::rls::messages::SHOULD_RATE_LIMIT);
    let other = RateLimitResponse { overall_code: 1, ..RateLimitResponse::default() };
    let refused = client.unary(Request::new(other), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Internal, "{refused}");

    let mut client = Grpc::new(rls.gateway.channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<RateLimitRequest, RateLimitResponse>::default();
    let path =
        PathAndQuery::from_static("/envoy.service.ratelimit.v2.RateLimitService/ShouldRateLimit");
    let refused =
        client.unary(Request::new(RateLimitRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented, "{refused}");
}

/// Calls of gateways are counted beside those of HTTP, with the statuses that they would have there.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted() {
    let service = Service::new();
    put(&service, "api", &rules(1)[3]).await.assert(201);
    let address = format!("127.0.0.1:{}", free_port());
    let process = Process::start(&["--redis-url", redis_url(), "--rls-listen", &address]);
    let gateway = Gateway::to(&address, &service.space);
    for policy in ["api", "api", "gone"] {
        let _ = gateway.ask(vec![user(policy)]).await;
    }
    let metrics = process.get_text("/metrics").await;
    for status in [200, 429, 404] {
        let line = format!(
            "lockstep_http_request_duration_seconds_count{{method=\"POST\",route=\"{}\",status=\"{status}\"}} 1",
            lockstep::rls::messages::SHOULD_RATE_LIMIT
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("lockstep_rls_connections 1"), "{metrics}");
    assert!(metrics.contains("lockstep_problems_total{code=\"policy_not_found\"} 1"), "{metrics}");
}

#[test]
fn an_address_that_is_not_loopback_needs_insecure() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--listen", "127.0.0.1:0", "--rls-listen", "0.0.0.0:0", "--redis-url", redis_url()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("0.0.0.0:0 is not a loopback address"), "{told}");
}
