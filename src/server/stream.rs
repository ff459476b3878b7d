//! The socket of a caller, as the HTTP library reads and writes it. `connection` makes one for each
//! stretch of calls.
//!
//! It reports to [`Activity`], ends a connection whose caller does not read, and leaves the closing to
//! `connection`, which does it in order.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::activity::Activity;

/// A socket, and the bytes that have been read from it but not used.
pub(super) struct CallerStream<S> {
    socket: S,
    left_over: Bytes,
    activity: Arc<Activity>,
    /// The longest time in which the caller takes no byte of an answer.
    write_timeout: Duration,
    /// Runs while the caller takes no bytes.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> CallerStream<S> {
    pub(super) fn new(
        socket: S,
        left_over: Bytes,
        activity: Arc<Activity>,
        write_timeout: Duration,
    ) -> CallerStream<S> {
        CallerStream { socket, left_over, activity, write_timeout, stalled: None }
    }

    pub(super) fn into_socket(self) -> S {
        self.socket
    }

    /// Fails once the caller has taken no byte for too long.
    fn in_time<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.activity.set_blocked(false);
            }
            return written;
        }
        let write_timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| {
            self.activity.set_blocked(true);
            Box::pin(sleep(write_timeout))
        });
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CallerStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.left_over.is_empty() {
            ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        } else {
            let part = this.left_over.split_to(this.left_over.len().min(buffer.remaining()));
            buffer.put_slice(&part);
        }
        if buffer.filled().len() > before {
            this.activity.bytes_arrived();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CallerStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.in_time(written, cx)
    }

    /// Waits for the caller too: with TLS, bytes that are written wait in a buffer until they are flushed.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        this.in_time(flushed, cx)
    }

    /// Does nothing: the socket is closed by `connection`.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
