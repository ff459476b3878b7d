//! One connection of a gateway, from its first byte to its end. `rls` spawns a task for each.
//!
//! HTTP/2 lets one connection ask for much at once, so each thing has a bound here. What has none of its own is
//! bounded by the library: it reads on only when its answer to a SETTINGS or PING frame is written, and it ends a
//! connection that sends more CONTINUATION frames than a head of the permitted size needs.

use std::{io::Cursor, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::service::Service;

/// What every connection of HTTP/2 begins with.
const PREFACE_BYTES: usize = 24;

/// The most calls at a time; the gateway opens another connection for more.
const STREAMS: u32 = 256;

/// The most bytes of a head.
const HEAD_BYTES: u32 = 8 * 1024;

/// The most bytes of a message, and of all messages of a connection, that may arrive before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The most bytes of an answer that wait to be written.
const SEND_BUFFER: usize = 64 * 1024;

/// The most calls that may be taken back before they were looked at, or be reset because of a fault of the
/// gateway. With more the connection ends.
const RESETS: usize = 64;

/// The time without a frame after which the gateway is asked whether it is there, and the time that it has to answer.
/// A gateway that reads nothing cannot answer either.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What all connections share.
pub(super) struct GatewayContext {
    pub(super) service: Service,
    /// The time from accepting a connection to the end of its preface.
    pub(super) first_bytes: Duration,
    /// Connections answer the calls in progress, and then end.
    pub(super) closing: CancellationToken,
}

/// Serves one connection until the gateway, a bound or the end of the service ends it.
pub(super) async fn run(socket: TcpStream, context: Arc<GatewayContext>) {
    // Without this a small answer waits until the one before it is acknowledged (Nagle's algorithm).
    let _ = socket.set_nodelay(true);
    let peer = socket.peer_addr().ok().map(|address| address.ip());
    let Some(stream) = begin(socket, context.first_bytes).await else { return };
    let calls = service_fn(|request| context.service.clone().answer(request, peer));
    let connection = bounded().serve_connection(TokioIo::new(stream), calls);
    let mut connection = pin!(connection);
    tokio::select! {
        result = &mut connection => return log_end(result),
        () = context.closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    log_end(connection.await);
}

/// Waits for the preface. The library has no time limit for it.
async fn begin(
    mut socket: TcpStream,
    wait: Duration,
) -> Option<impl AsyncRead + AsyncWrite + Unpin> {
    let mut preface = [0; PREFACE_BYTES];
    timeout(wait, socket.read_exact(&mut preface)).await.ok()?.ok()?;
    let (reader, writer) = socket.into_split();
    Some(tokio::io::join(Cursor::new(preface).chain(reader), writer))
}

/// Makes the bounds of a connection.
fn bounded() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(false);
    builder
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection of a gateway ended");
    }
}
