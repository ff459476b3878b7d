//! Tests of callers that flood a connection with frames of HTTP/2. Whatever becomes of the connection, the service
//! answers others meanwhile and afterwards, and its memory does not grow with the flood.

use super::{frames::*, *};

const ENHANCE_YOUR_CALM: u32 = 11;

/// The most bytes of a flood.
const BYTES: usize = 4 << 20;

/// The most memory that a flood may cost, in KiB.
const GROWTH: u64 = 32 << 10;

/// The most memory that a process ever had, in KiB.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Begins a connection with some frames, floods it with others, which `burst` makes, and reads what comes. Returns the
/// reason of its GOAWAY, if there was one.
async fn flood(
    identity: &Identity,
    process: &Process,
    first: Vec<u8>,
    mut burst: impl FnMut() -> Vec<u8>,
) -> Option<u32> {
    let stream = identity.raw_http_2(process).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        let mut reason = None;
        while let Some(frame) = next(&mut reader).await {
            reason = farewell(&[frame]).or(reason);
        }
        reason
    };
    let writing = async {
        let mut sent = 0;
        let mut bytes = [beginning(&[]), first].concat();
        while sent < BYTES && writer.write_all(&bytes).await.is_ok() {
            sent += bytes.len();
            bytes = burst();
        }
        // The end of the caller's side is the end of the connection.
        let _ = writer.shutdown().await;
        std::future::pending().await
    };
    tokio::select! {
        reason = reading => reason,
        () = writing => None,
    }
}

/// Floods a service of its own, and returns the reason with which it ended the connection, if it did.
async fn survived(first: Vec<u8>, burst: impl FnMut() -> Vec<u8>) -> Option<u32> {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    assert!(identity.is_served(&process).await);
    let before = peak(&process);
    let mut flooding = std::pin::pin!(flood(&identity, &process, first, burst));
    let reason = loop {
        tokio::select! {
            biased;
            reason = &mut flooding => break reason,
            served = identity.is_served(&process) => assert!(served),
        }
    };
    assert!(identity.is_served(&process).await);
    let growth = peak(&process).saturating_sub(before);
    assert!(growth < GROWTH, "the flood cost {growth} KiB");
    reason
}

/// The ids of a caller's streams, one after the other.
fn streams() -> impl FnMut() -> u32 {
    let mut next = 1;
    move || {
        next += 2;
        next - 2
    }
}

/// Enough small frames for one write.
fn many(frame: &[u8]) -> Vec<u8> {
    frame.repeat(1 + 16_000 / frame.len())
}

#[tokio::test]
async fn calls_that_are_reset_at_once() {
    let mut stream = streams();
    let burst = move || {
        let pairs =
            (0..200).map(|_| stream()).flat_map(|id| [get(id, "/livez"), reset(id)].concat());
        pairs.collect()
    };
    assert_eq!(survived(Vec::new(), burst).await, Some(ENHANCE_YOUR_CALM));
}

/// Calls that have begun and are taken back cost the store something.
#[tokio::test]
async fn calls_that_are_taken_back_while_they_wait() {
    let identity = Identity::new();
    let process = identity.serve(&[]);
    let space = unique("tls-");
    let mut http_2 = identity.http_2(&process).await;
    let lock = json!({ "lock": "l", "owner": "me", "ttl_ms": 3_600_000 });
    assert_eq!(http_2.post(&space, "/locks", lock).await.0, 201);

    let body = br#"{"lock":"l","owner":"you","wait_ms":25000}"#;
    let headers = [("content-type", "application/json"), ("lockstep-space", space.as_str())];
    let waiting = |id: u32| {
        let head = head("POST", "/locks", &headers);
        [frame(HEADERS, END_HEADERS, id, &head), frame(DATA, END_STREAM, id, body)].concat()
    };
    let mut stream = identity.raw_http_2(&process).await;
    stream.write_all(&beginning(&[])).await.unwrap();
    let mut next_stream = streams();
    let mut taken_back = 0;
    'flood: loop {
        let ids: Vec<u32> = (0..60).map(|_| next_stream()).collect();
        // The answer to a PING says that all before it has been looked at.
        let calls = ids.iter().flat_map(|id| waiting(*id)).collect::<Vec<_>>();
        let resets = ids.iter().flat_map(|id| reset(*id)).collect::<Vec<_>>();
        for part in [calls, resets] {
            let part = [part, frame(PING, 0, 0, b"lockstep")].concat();
            if stream.write_all(&part).await.is_err() {
                break 'flood;
            }
            loop {
                match next(&mut stream).await {
                    None => break 'flood,
                    Some(frame) if frame.kind == PING && frame.flags & ACK != 0 => break,
                    Some(_) => {}
                }
            }
        }
        taken_back += ids.len();
        assert!(taken_back < 2000, "no end of the connection");
    }
    assert!(taken_back >= 180, "{taken_back} calls may be taken back");
    assert!(identity.is_served(&process).await);
}

#[tokio::test]
async fn settings() {
    survived(Vec::new(), || many(&frame(SETTINGS, 0, 0, &[]))).await;
    // With a table size that changes again and again.
    let change = frame(SETTINGS, 0, 0, &[[0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 16, 0]].concat());
    survived(Vec::new(), move || many(&change)).await;
}

#[tokio::test]
async fn pings() {
    survived(Vec::new(), || many(&frame(PING, 0, 0, b"lockstep"))).await;
}

#[tokio::test]
async fn continuations() {
    let begun = || frame(HEADERS, END_STREAM, 1, &head("GET", "/livez", &[]));
    let large = head("GET", "/", &[("x", "a".repeat(100).as_str())])[13..].repeat(100);
    for part in [Vec::new(), vec![0], large] {
        let burst = move || many(&frame(CONTINUATION, 0, 1, &part));
        let reason = survived(begun(), burst).await;
        assert!(reason.is_some(), "the connection goes on");
    }
}

#[tokio::test]
async fn frames_that_say_nothing() {
    const PRIORITY: u8 = 2;
    const WINDOW_UPDATE: u8 = 8;
    const UNKNOWN: u8 = 200;
    let upload = frame(HEADERS, END_HEADERS, 1, &head("POST", "/accounts", &[]));
    for (first, frame) in [
        (Vec::new(), frame(UNKNOWN, 0, 0, b"x")),
        (Vec::new(), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        (upload.clone(), frame(DATA, 0, 1, &[])),
        (upload.clone(), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        (upload, frame(DATA, 8, 1, &[0])),
    ] {
        survived(first, move || many(&frame)).await;
    }
}

#[tokio::test]
async fn calls_beyond_the_number_that_is_permitted() {
    let mut stream = streams();
    // Their bodies never come.
    let head = head("POST", "/accounts", &[("content-type", "application/json")]);
    let burst =
        move || (0..200).flat_map(|_| frame(HEADERS, END_HEADERS, stream(), &head)).collect();
    survived(Vec::new(), burst).await;
}

/// A head that is small on the wire and large in memory.
#[tokio::test]
async fn heads_that_unpack_to_much() {
    let mut stream = streams();
    let value = "a".repeat(100);
    // A header that goes into the table, and then its number a thousand times.
    let entry = [&[0x40, 1, b'x', 100], value.as_bytes()].concat();
    let bomb = [head("GET", "/livez", &[]), entry, vec![0xbe; 4000]].concat();
    let burst = move || {
        let bombs = (0..20).flat_map(|_| frame(HEADERS, END_HEADERS | END_STREAM, stream(), &bomb));
        bombs.collect()
    };
    survived(Vec::new(), burst).await;
}

/// A caller that sends and never reads is cut.
#[tokio::test]
async fn floods_whose_answers_nobody_reads() {
    let identity = Identity::new();
    let process = identity.serve(&["--header-timeout-ms", "300", "--body-timeout-ms", "300"]);
    assert!(identity.is_served(&process).await);
    let before = peak(&process);
    let mut stream = streams();
    let mut gets = move || (0..100).flat_map(|_| get(stream(), "/livez")).collect::<Vec<_>>();
    let mut settings = || many(&frame(SETTINGS, 0, 0, &[]));
    let mut pings = || many(&frame(PING, 0, 0, b"lockstep"));
    let bursts: [&mut dyn FnMut() -> Vec<u8>; 3] = [&mut gets, &mut settings, &mut pings];
    for burst in bursts {
        let mut stream = identity.raw_http_2(&process).await;
        stream.write_all(&beginning(&[])).await.unwrap();
        let cut = async { while stream.write_all(&burst()).await.is_ok() {} };
        timeout(PATIENCE, cut).await.expect("the connection should have been cut");
        assert!(identity.is_served(&process).await);
    }
    let growth = peak(&process).saturating_sub(before);
    assert!(growth < GROWTH, "the floods cost {growth} KiB");
}
