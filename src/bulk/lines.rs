use std::{mem, time::Duration};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::timeout;

use crate::{api::Problem, types::codes};

/// The longest line. Some hundreds of lines are on their way at a time, and they must fit into memory.
const MAX_LINE: usize = 64 * 1024;

/// The lines of a body, as they come in.
pub struct Lines {
    body: Body,
    /// How long the next part of the body may take.
    body_timeout: Duration,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer, and how far there is no end of it.
    start: usize,
    searched: usize,
    /// Whether the line that is read is longer than one may be; nothing of it is kept.
    too_long: bool,
    ended: bool,
    broken: Option<Problem>,
}

/// What comes next in a body.
pub enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line that cannot be taken; others may follow it.
    Bad(Problem),
    /// The body stands still, or has been cut off: nothing can follow.
    Broken(Problem),
    /// Nothing follows.
    End,
}

impl Lines {
    pub fn new(body: Body, body_timeout: Duration) -> Lines {
        Lines {
            body,
            body_timeout,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            too_long: false,
            ended: false,
            broken: None,
        }
    }

    /// Asks for the body, and lets the connection take a turn: a client that waits to be asked, with
    /// `Expect: 100-continue`, would otherwise see the head of our answer first and go on waiting.
    pub async fn ask(&mut self) {
        tokio::select! {
            biased;
            frame = self.body.frame() => self.take(frame),
            () = tokio::task::yield_now() => {}
        }
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, axum::Error>>) {
        match frame {
            None => self.ended = true,
            Some(Ok(frame)) => {
                self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            }
            Some(Err(_)) => {
                self.broken = Some(Problem::new(codes::MALFORMED_JSON, "The body was cut off."))
            }
        }
    }

    /// Reads what is left, and keeps nothing of it.
    pub async fn read_away(&mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
    }

    /// The next line. Nothing is lost where it is not waited for.
    pub async fn next(&mut self) -> Next<'_> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| self.searched + end) {
                let line = self.start..end;
                (self.start, self.searched) = (end + 1, end + 1);
                if mem::take(&mut self.too_long) || line.len() > MAX_LINE {
                    return Next::Bad(line_too_long());
                }
                return Next::Line(&self.buffer[line]);
            }
            self.buffer.drain(..self.start);
            if self.buffer.len() > MAX_LINE {
                // Its end is still looked for, but nothing of it is kept.
                self.too_long = true;
                self.buffer.clear();
            }
            (self.start, self.searched) = (0, self.buffer.len());
            if self.ended {
                let rest = 0..mem::take(&mut self.searched);
                self.start = rest.end;
                self.searched = rest.end;
                return match rest.len() {
                    _ if mem::take(&mut self.too_long) => Next::Bad(line_too_long()),
                    0 => Next::End,
                    _ => Next::Line(&self.buffer[rest]),
                };
            }
            if let Some(problem) = self.broken.take() {
                return Next::Broken(problem);
            }
            match timeout(self.body_timeout, self.body.frame()).await {
                Ok(frame) => self.take(frame),
                Err(_) => self.broken = Some(codes::REQUEST_TIMEOUT.into()),
            }
        }
    }
}

fn line_too_long() -> Problem {
    let detail = format_args!("A line has {MAX_LINE} bytes at most.");
    Problem::new(codes::PAYLOAD_TOO_LARGE, detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use http_body_util::channel::Channel;

    use super::*;

    /// What comes out of a body that comes in these parts: each line, `bad` or `broken`.
    async fn read(parts: &[&[u8]]) -> Vec<String> {
        let (mut sender, body) = Channel::<Bytes>::new(parts.len().max(1));
        for part in parts {
            sender.send_data(Bytes::copy_from_slice(part)).await.unwrap();
        }
        drop(sender);
        let mut lines = Lines::new(Body::new(body), Duration::from_secs(5));
        let mut seen = Vec::new();
        loop {
            seen.push(match lines.next().await {
                Next::Line(line) => String::from_utf8_lossy(line).into_owned(),
                Next::Bad(problem) => problem.code().to_owned(),
                Next::Broken(_) => "broken".to_owned(),
                Next::End => return seen,
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
    async fn a_line_that_is_too_long_is_bad_and_the_next_one_is_not() {
        let long = vec![b'x'; MAX_LINE + 1];
        let fits = vec![b'y'; MAX_LINE];
        for size in [1000, MAX_LINE, 4 * MAX_LINE] {
            let text = [&long, b"\n".as_slice(), &fits, b"\nend".as_slice()].concat();
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            let seen = read(&parts).await;
            assert_eq!(seen.len(), 3);
            assert_eq!(seen[0], "payload_too_large");
            assert_eq!(seen[1].len(), MAX_LINE);
            assert_eq!(seen[2], "end");
        }
        assert_eq!(read(&[&long]).await, ["payload_too_large"]);
    }
}
