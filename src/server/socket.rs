//! The socket of a caller, with or without TLS, and its end. `connection` and `http2` serve either.
//!
//! A connection is closed in order: what was written is ended, and what the caller still sends is read
//! and dropped, up to a bound. Closed at once, unread bytes would make the kernel reset the connection,
//! and the reset destroys an answer that the caller has not read yet.

use std::{io, time::Duration};

use axum::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

use super::connection::ConnectionContext;

/// The most bytes that are read and dropped after the last answer of a connection.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;

/// The longest pause between those bytes.
const DISCARD_PAUSE: Duration = Duration::from_secs(2);

/// The time for all of them once the service ends.
const DISCARD_AT_END: Duration = Duration::from_millis(500);

/// A socket of a caller.
pub(super) trait CallerSocket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Waits for the next byte. Returns what had to be read for that, or `None` if none comes any more.
    fn next_byte(&mut self) -> impl Future<Output = Option<Bytes>> + Send;

    /// Reads what is there, or waits for it; 0 bytes are the end.
    fn read_more(&mut self, read: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;

    /// Ends the encryption, where there is one, so that the caller knows that nothing was cut off.
    fn end_encryption(&mut self) -> impl Future<Output = ()> + Send;

    /// The socket itself.
    fn tcp(&self) -> &TcpStream;

    /// The socket without what is around it.
    fn into_tcp(self) -> TcpStream;
}

impl CallerSocket for TcpStream {
    async fn next_byte(&mut self) -> Option<Bytes> {
        matches!(self.peek(&mut [0]).await, Ok(1)).then(Bytes::new)
    }

    async fn read_more(&mut self, read: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            self.readable().await?;
            match self.try_read_buf(read) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                found => return found,
            }
        }
    }

    async fn end_encryption(&mut self) {}

    fn tcp(&self) -> &TcpStream {
        self
    }

    fn into_tcp(self) -> TcpStream {
        self
    }
}

impl CallerSocket for TlsStream<TcpStream> {
    async fn next_byte(&mut self) -> Option<Bytes> {
        let mut byte = [0];
        matches!(self.read(&mut byte).await, Ok(1)).then(|| Bytes::copy_from_slice(&byte))
    }

    async fn read_more(&mut self, read: &mut Vec<u8>) -> io::Result<usize> {
        self.read_buf(read).await
    }

    async fn end_encryption(&mut self) {
        // A caller that reads nothing is not waited for.
        let _ = timeout(DISCARD_PAUSE, self.shutdown()).await;
    }

    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn into_tcp(self) -> TcpStream {
        self.into_inner().0
    }
}

/// Ends what was written, and reads on until the caller has ended its side too, or a bound is reached.
pub(super) async fn close<S: CallerSocket>(mut socket: S, context: &ConnectionContext) {
    socket.end_encryption().await;
    let mut socket = socket.into_tcp();
    if socket.shutdown().await.is_err() {
        return;
    }
    let discarding = async {
        let mut part = vec![0; 8 * 1024];
        let mut left = DISCARD_BYTES;
        while let Ok(Ok(read @ 1..)) = timeout(DISCARD_PAUSE, socket.read(&mut part)).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    let at_end = async {
        context.closing.cancelled().await;
        sleep(DISCARD_AT_END).await;
    };
    tokio::select! {
        _ = timeout(context.timeouts.body, discarding) => {}
        () = at_end => {}
    }
}
