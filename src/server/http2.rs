//! One connection of HTTP/2, from the end of its handshake to its own end. `tls` runs it where the caller has chosen
//! HTTP/2.
//!
//! One connection can ask for much at once, so each thing has a bound here or in `streams`. What has none of its own
//! is bounded by the library: it reads on only when its answer to a SETTINGS or PING frame is written, and it ends a
//! connection that sends more CONTINUATION frames than a head of the permitted size needs.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{self, AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};
use tower::Service;

use super::{
    Counted, Timeouts,
    connection::{BUFFER_BYTES, ConnectionContext},
    exchange::with_kept_body,
    socket::{CallerSocket, close},
    streams::{StreamBody, StreamStep, Streams},
};
use crate::api::PeerAddress;

/// The most calls at a time; the caller opens another connection for more.
const STREAMS: u32 = 128;

/// The most bytes of a body, and of all bodies of a connection, that may arrive before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The most bytes of an answer that wait to be written.
const SEND_BUFFER: usize = 64 * 1024;

/// The most calls that may be taken back before they were looked at, or be reset because of a fault of the caller.
/// With more the connection ends.
const RESETS: usize = 64;

/// Serves one connection until its caller, a bound or the end of the service ends it.
pub(super) async fn run<S: CallerSocket>(socket: S, context: &Arc<ConnectionContext>) {
    let peer = context.peer_of(socket.tcp());
    let returned = Slot::default();
    let lent = Lent { socket: Some(socket), returned: returned.clone() };
    let is_read = Box::pin(serve(lent, peer, context)).await;
    let socket = returned.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(socket) = socket else { return };
    if is_read {
        close(socket, context).await;
    } else {
        // The caller does not read: what is buffered for it is given up too.
        let _ = socket.tcp().set_zero_linger();
    }
}

/// Serves until the connection is to be closed. Returns false if its caller does not read what is written.
async fn serve<S: CallerSocket>(
    socket: Lent<S>,
    peer: Option<PeerAddress>,
    context: &Arc<ConnectionContext>,
) -> bool {
    let timeouts = context.timeouts;
    let streams = Streams::new(Arc::clone(&context.streams));
    let calls = service_fn(|request| answer(request, peer, context, &streams));
    let mut connection = pin!(bounded(timeouts).serve_connection(TokioIo::new(socket), calls));
    let mut leaving = pin!(to_leave(context, &streams));
    let mut left_at = None;
    let mut look = pin!(sleep_until(streams.first_look(timeouts)));
    loop {
        let leave = tokio::select! {
            biased;
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection of HTTP/2 ended");
                }
                return true;
            }
            () = streams.flooded() => return true,
            () = &mut leaving, if left_at.is_none() => true,
            () = &mut look => match streams.next(Instant::now(), timeouts, left_at) {
                StreamStep::LookAt(time) => {
                    look.as_mut().reset(time);
                    false
                }
                StreamStep::Leave => true,
                StreamStep::Close => return true,
                StreamStep::Abandon => return false,
            },
        };
        if leave {
            left_at = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
            look.as_mut().reset(Instant::now());
        }
    }
}

/// Waits for a reason to tell the caller to go away (GOAWAY), other than that it does nothing.
async fn to_leave(context: &ConnectionContext, streams: &Streams) {
    let leaving = async {
        context.leaving.cancelled().await;
        // A connection that is opened after that still has its first call.
        streams.begun().await;
    };
    let crowded = async {
        loop {
            streams.idle().await;
            let _idle = Counted::new(metrics::gauge!("lockstep_http_connections_idle"));
            tokio::select! {
                biased;
                () = streams.busy() => {}
                () = context.crowded.notified() => return,
            }
        }
    };
    tokio::select! {
        () = leaving => {}
        () = context.closing.cancelled() => {}
        () = crowded => {}
    }
}

/// Answers one request by the router. Where all connections of HTTP/2 have too many calls already, it is taken back,
/// as if it had not been sent.
fn answer(
    request: Request<Incoming>,
    peer: Option<PeerAddress>,
    context: &ConnectionContext,
    streams: &Arc<Streams>,
) -> impl Future<Output = Result<Response<StreamBody>, h2::Error>> + Send + 'static {
    let begun = streams.begin();
    let is_head = request.method() == Method::HEAD;
    let answering = begun.map(|call| {
        let (mut request, unread) = with_kept_body(request, || None);
        peer.map(|peer| request.extensions_mut().insert(peer));
        (call, unread, context.app.clone().call(request))
    });
    async move {
        let (call, unread, answering) = answering.ok_or(h2::Reason::REFUSED_STREAM)?;
        let response = match answering.await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        // The library does not know that there is none.
        let response = if is_head { response.map(|_| Body::empty()) } else { response };
        let rest = unread.and_then(|unread| unread.take());
        Ok(response.map(|body| StreamBody::new(body, call, rest)))
    }
}

/// Makes the bounds of a connection. A caller that is asked for a sign of life, because nothing has come from it for the
/// time of a head, cannot give it within a head that it does not end, nor if it reads nothing.
fn bounded(timeouts: Timeouts) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(timeouts.header)
        .keep_alive_timeout(timeouts.body);
    builder
}

/// The place in which the library leaves a socket. It gives none back by itself.
type Slot<S> = Arc<Mutex<Option<S>>>;

/// A socket that the library has, until this is dropped.
struct Lent<S> {
    /// Always there, until this is dropped.
    socket: Option<S>,
    returned: Slot<S>,
}

impl<S: Unpin> Lent<S> {
    fn socket(self: Pin<&mut Self>) -> io::Result<Pin<&mut S>> {
        let socket = self.get_mut().socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(socket))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    /// Does nothing: the socket is closed by [`run`].
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        let socket = self.socket.take();
        *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = socket;
    }
}
