//! Frames of HTTP/2, written and read by hand, for what no client library sends.

use super::*;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Everything that a connection begins with, with these settings.
pub fn beginning(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
    [PREFACE, &frame(SETTINGS, 0, 0, &pairs.collect::<Vec<_>>())].concat()
}

/// The head of a request, compressed without a table.
pub fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let method = if method == "POST" { 0x83 } else { 0x82 };
    let mut block = vec![method, 0x87];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // Literals whose names have numbers: `:path` and `:authority`.
    block.extend([&[0x04], &text(path)[..], &[0x01], &text("localhost")].concat());
    for (name, value) in more {
        block.extend([&[0x00], &text(name)[..], &text(value)].concat());
    }
    block
}

/// A whole `GET` in one frame.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path, &[]))
}

pub fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A frame that the service has sent.
#[derive(Debug)]
pub struct Received {
    pub kind: u8,
    pub flags: u8,
    pub payload: Vec<u8>,
}

/// The next frame; `None` at the end of the connection. Panics after 20 s.
pub async fn next(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Received> {
    let reading = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Received { kind: head[3], flags: head[4], payload })
    };
    timeout(PATIENCE, reading).await.expect("neither a frame nor the end of the connection")
}

/// All frames to the end of the connection.
pub async fn to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<Received> {
    let mut frames = Vec::new();
    while let Some(frame) = next(stream).await {
        frames.push(frame);
    }
    frames
}

/// The reason of the last GOAWAY, where there is one.
pub fn farewell(frames: &[Received]) -> Option<u32> {
    let goaway = frames.iter().rfind(|frame| frame.kind == GOAWAY)?;
    Some(u32::from_be_bytes(goaway.payload[4..8].try_into().unwrap()))
}
