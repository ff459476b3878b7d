//! A socket that counts the bytes that it has taken. A command whose last byte was never written has
//! not run, whatever became of its connection. `route` makes one for each connection.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The count of a socket's bytes. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<ByteCount>>);

#[derive(Default)]
struct ByteCount {
    bytes: u64,
    sealed: bool,
}

impl Written {
    /// The bytes that the socket has taken so far.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Lets the socket take nothing more, so that the count is final, and returns it.
    pub fn seal(&self) -> u64 {
        let mut count = self.lock();
        count.sealed = true;
        count.bytes
    }

    fn lock(&self) -> MutexGuard<'_, ByteCount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket with its count.
pub(super) struct CountedStream<S> {
    pub socket: S,
    pub written: Written,
    /// True if the socket encrypts: a write that fails may have sent some of its bytes, which are then all
    /// counted.
    pub encrypts: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let CountedStream { socket, written, encrypts } = self.get_mut();
        // Held over the write, so that no byte goes out after `seal` has counted.
        let mut progress = written.lock();
        if progress.sealed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = Pin::new(socket).poll_write(context, buffer);
        match taken {
            Poll::Ready(Ok(count)) => progress.bytes += count as u64,
            Poll::Ready(Err(_)) if *encrypts => progress.bytes += buffer.len() as u64,
            _ => {}
        }
        taken
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn counts_what_the_socket_takes_and_nothing_after_the_seal() {
        // The pipe holds 8 bytes that nobody reads.
        let (socket, _unread) = tokio::io::duplex(8);
        let written = Written::default();
        let mut stream = CountedStream { socket, written: written.clone(), encrypts: false };
        stream.write_all(b"12345").await.unwrap();
        assert_eq!(written.bytes(), 5);
        assert_eq!(stream.write(b"6789").await.unwrap(), 3);
        assert_eq!(written.seal(), 8);
        assert_eq!(stream.write(b"9").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(written.bytes(), 8);
    }

    #[tokio::test]
    async fn counts_all_of_a_write_that_an_encrypting_socket_failed_at() {
        for (encrypts, counted) in [(true, 3), (false, 0)] {
            let (socket, other_end) = tokio::io::duplex(8);
            drop(other_end);
            let written = Written::default();
            let mut stream = CountedStream { socket, written: written.clone(), encrypts };
            stream.write(b"123").await.unwrap_err();
            assert_eq!(written.seal(), counted);
        }
    }
}
