//! Lines: cuts the body of a stream into lines while it arrives. `run` reads from it.

use std::{mem, time::Duration};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::timeout;

use crate::{api::Problem, types::codes};

/// The most bytes of a line. Several hundred lines of a stream are in memory at a time.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Reads a body line by line.
pub struct LineReader {
    body: Body,
    /// The longest time to wait for the next part of the body.
    body_timeout: Duration,
    buffer: Vec<u8>,
    /// Index in the buffer at which the next line begins.
    start: usize,
    /// Index in the buffer up to which there is no further line end.
    searched: usize,
    /// True while the current line is too long. Its bytes are dropped, up to its end.
    too_long: bool,
    /// True once the body has arrived completely.
    ended: bool,
    /// The failure of the body, until it is returned.
    failure: Option<Problem>,
}

/// The next line of a body, or the reason why there is none.
pub enum NextLine<'a> {
    /// A line without its line end.
    Line(&'a [u8]),
    /// A line that is too long. Other lines can follow.
    Rejected(Problem),
    /// The body did not arrive in time, or was cut off. Nothing follows.
    BodyFailed(Problem),
    /// The body has no further line.
    End,
}

impl LineReader {
    /// A reader of `body`; the next part of it has to arrive within `body_timeout`.
    pub fn new(body: Body, body_timeout: Duration) -> LineReader {
        LineReader {
            body,
            body_timeout,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            too_long: false,
            ended: false,
            failure: None,
        }
    }

    /// Asks the connection for the body, and takes what is there already. A caller that sent
    /// `Expect: 100-continue` sends its body only after this. Asked later, it would first receive the
    /// head of the answer, and keep waiting.
    pub async fn start(&mut self) {
        tokio::select! {
            biased;
            frame = self.body.frame() => self.accept(frame),
            () = tokio::task::yield_now() => {}
        }
    }

    /// Takes a part of the body, its end, or its failure.
    fn accept(&mut self, frame: Option<Result<Frame<Bytes>, axum::Error>>) {
        match frame {
            None => self.ended = true,
            Some(Ok(frame)) => {
                self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            }
            Some(Err(_)) => {
                self.failure = Some(Problem::new(codes::MALFORMED_JSON, "The body was cut off."))
            }
        }
    }

    /// Reads the rest of the body and drops it.
    pub async fn discard_rest(&mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
    }

    /// Returns the next line. It is safe to drop the future before it is ready: nothing is lost.
    pub async fn next(&mut self) -> NextLine<'_> {
        loop {
            // Lines that are here already make no call wait; without this a stream of empty lines
            // would keep its thread from all others.
            tokio::task::consume_budget().await;
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| self.searched + end) {
                let line = self.start..end;
                (self.start, self.searched) = (end + 1, end + 1);
                if mem::take(&mut self.too_long) || line.len() > MAX_LINE_BYTES {
                    return NextLine::Rejected(line_too_long());
                }
                return NextLine::Line(&self.buffer[line]);
            }
            self.compact();
            if self.ended {
                return self.last_line();
            }
            if let Some(problem) = self.failure.take() {
                return NextLine::BodyFailed(problem);
            }
            match timeout(self.body_timeout, self.body.frame()).await {
                Ok(frame) => self.accept(frame),
                Err(_) => self.failure = Some(codes::REQUEST_TIMEOUT.into()),
            }
        }
    }

    /// Keeps in the buffer only the line that is incomplete, and nothing of it if it is too long.
    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        if self.buffer.len() > MAX_LINE_BYTES {
            self.too_long = true;
            self.buffer.clear();
        }
        (self.start, self.searched) = (0, self.buffer.len());
    }

    /// Returns the bytes behind the last line end, which are a line too if there are any.
    fn last_line(&mut self) -> NextLine<'_> {
        let rest = 0..mem::take(&mut self.searched);
        (self.start, self.searched) = (rest.end, rest.end);
        match rest.len() {
            _ if mem::take(&mut self.too_long) => NextLine::Rejected(line_too_long()),
            0 => NextLine::End,
            _ => NextLine::Line(&self.buffer[rest]),
        }
    }
}

fn line_too_long() -> Problem {
    let detail = format_args!("A line has {MAX_LINE_BYTES} bytes at most.");
    Problem::new(codes::PAYLOAD_TOO_LARGE, detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use http_body_util::channel::Channel;

    use super::*;

    /// Reads a body that arrives in these parts, and returns each line, or the code of its problem.
    async fn read(parts: &[&[u8]]) -> Vec<String> {
        let (mut sender, body) = Channel::<Bytes>::new(parts.len().max(1));
        for part in parts {
            sender.send_data(Bytes::copy_from_slice(part)).await.unwrap();
        }
        drop(sender);
        let mut lines = LineReader::new(Body::new(body), Duration::from_secs(5));
        let mut found = Vec::new();
        loop {
            found.push(match lines.next().await {
                NextLine::Line(line) => String::from_utf8_lossy(line).into_owned(),
                NextLine::Rejected(problem) => problem.code().to_owned(),
                NextLine::BodyFailed(_) => "broken".to_owned(),
                NextLine::End => return found,
            });
        }
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut() {
        let text = b"one\n\ntwo\r\nthree";
        for size in 1..=text.len() {
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(read(&parts).await, ["one", "", "two\r", "three"], "in parts of {size}");
        }
        assert_eq!(read(&[]).await, [""; 0]);
        assert_eq!(read(&[b"a\n"]).await, ["a"]);
    }

    #[tokio::test]
    async fn a_stream_of_empty_lines_lets_others_work() {
        let mut lines = LineReader::new(Body::from(vec![b'\n'; 100_000]), Duration::from_secs(5));
        let reading = tokio::spawn(async move {
            let mut found = 0;
            while let NextLine::Line(_) = lines.next().await {
                found += 1;
            }
            found
        });
        // The test has one thread, so it is here only when the reader gives way.
        let mut turns = 0;
        while !reading.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        assert_eq!(reading.await.unwrap(), 100_000);
        assert!(turns > 500, "only {turns} turns");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_bad_and_the_next_one_is_not() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        let fits = vec![b'y'; MAX_LINE_BYTES];
        for size in [1000, MAX_LINE_BYTES, 4 * MAX_LINE_BYTES] {
            let text = [&long, b"\n".as_slice(), &fits, b"\nend".as_slice()].concat();
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            let found = read(&parts).await;
            assert_eq!(found.len(), 3);
            assert_eq!(found[0], "payload_too_large");
            assert_eq!(found[1].len(), MAX_LINE_BYTES);
            assert_eq!(found[2], "end");
        }
        assert_eq!(read(&[&long]).await, ["payload_too_large"]);
    }
}
