//! One connection of HTTP/1.1, from its first byte to its end. `server` spawns a task for each, and `tls` runs it
//! inside that of an encrypted one.
//!
//! Between calls, and during a call that takes long, a connection is *parked*: the HTTP library and its buffers,
//! some 20 KiB, are given up until the next byte or the answer is there. So thousands of idle connections of
//! gateways cost little, and thousands of calls that wait for a lock too.

use std::{
    error::Error,
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Bytes};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Counted, Timeouts,
    activity::{Activity, Next},
    call::{Call, CurrentCall},
    exchange::answer,
    socket::{CallerSocket, close},
    stream::CallerStream,
    tls::TlsIdentity,
};
use crate::api::PeerAddress;

/// The most bytes of a head; also the most bytes that are read at a time.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// The time after which a connection is parked: between two calls, or since its caller has to wait for the answer.
const PARK_AFTER: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct ConnectionContext {
    pub(super) app: Router,
    /// The certificate of a service whose connections are encrypted.
    pub(super) tls: Option<Arc<TlsIdentity>>,
    pub(super) timeouts: Timeouts,
    /// True if the service asks for the address of a caller.
    pub(super) tells_peer: bool,
    /// Every answer from now on is the last one of its connection.
    pub(super) leaving: CancellationToken,
    /// Connections without a call in progress end now, and the others after it.
    pub(super) closing: CancellationToken,
    /// New connections wait until others end: one that is idle is to end.
    pub(super) crowded: Notify,
    /// The calls that connections of HTTP/2 may have in progress, all together.
    pub(super) streams: Arc<Semaphore>,
}

impl ConnectionContext {
    /// The address at the other end, where the service asks for it.
    pub(super) fn peer_of(&self, socket: &TcpStream) -> Option<PeerAddress> {
        let peer = socket.peer_addr().ok().filter(|_| self.tells_peer);
        peer.map(|address| PeerAddress(address.ip()))
    }
}

/// Serves one connection until its caller, a timeout or the end of the service ends it.
pub(super) async fn run<S: CallerSocket>(mut socket: S, context: &ConnectionContext) {
    send_at_once(socket.tcp());
    let peer = context.peer_of(socket.tcp());
    let (mut left_over, mut answered) = (Bytes::new(), None);
    let mut wait = context.timeouts.first_byte;
    loop {
        if left_over.is_empty() {
            let Some(read) = next_byte(&mut socket, wait, context).await else {
                return socket.end_encryption().await;
            };
            left_over = read;
        }
        // In boxes, so that a parked connection does not keep the room for them.
        match Box::pin(serve(socket, peer, left_over, answered.take(), context)).await {
            Stretch::Idle(idle, read) => (socket, left_over) = (idle, read),
            Stretch::Waiting(waiting) => {
                let (idle, read, call) = waiting.await;
                socket = idle;
                let Some(call) = call else { return Box::pin(close(socket, context)).await };
                left_over = [call.head(), read].concat().into();
                answered = Some(call);
            }
            Stretch::Over(socket) => return Box::pin(close(socket, context)).await,
            Stretch::Abandoned(socket) => {
                // The caller does not read: what is buffered for it is given up too.
                let _ = socket.tcp().set_zero_linger();
                return;
            }
        }
        wait = context.timeouts.keep_alive;
    }
}

/// Has small answers sent at once. Otherwise one waits until the one before it is acknowledged (Nagle's algorithm).
pub(super) fn send_at_once(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
}

/// Waits for the next byte of a connection. Returns what had to be read for that, or `None` if the connection is to
/// end.
pub(super) async fn next_byte<S: CallerSocket>(
    socket: &mut S,
    wait: Duration,
    context: &ConnectionContext,
) -> Option<Bytes> {
    let idle = metrics::gauge!("lockstep_http_connections_idle");
    let _idle = Counted::new(idle);
    tokio::select! {
        // A request that has arrived is answered, whatever else has happened.
        biased;
        found = socket.next_byte() => found,
        () = context.closing.cancelled() => None,
        () = context.crowded.notified() => None,
        () = sleep(wait) => None,
    }
}

/// The end of a stretch of calls.
enum Stretch<'c, S> {
    /// No call has come for a while. The bytes are the beginning of the next one.
    Idle(S, Bytes),
    /// The answer to a call is not there yet.
    Waiting(Waiting<'c, S>),
    /// The last answer is written, or the caller has ended the connection.
    Over(S),
    /// The caller does not read what is written.
    Abandoned(S),
}

/// A connection that is parked until the answer to its call is there. It ends with the socket, what the caller has sent
/// meanwhile, and the call with its answer, or without the call if the caller goes away before.
type Waiting<'c, S> = Pin<Box<dyn Future<Output = (S, Vec<u8>, Option<Call<'c>>)> + Send + 'c>>;

/// Waits for the answer to a call. `read` is what the caller has sent after it.
fn wait_for_answer<'c, S: CallerSocket>(
    mut socket: S,
    mut read: Vec<u8>,
    mut call: Call<'c>,
) -> Waiting<'c, S> {
    Box::pin(async move {
        let _waiting = Counted::new(metrics::gauge!("lockstep_http_connections_waiting"));
        loop {
            tokio::select! {
                biased;
                answer = &mut call.answering => return (socket, read, Some(call.answered(answer))),
                // Reading finds out that the caller has gone.
                found = socket.read_more(&mut read), if read.len() < BUFFER_BYTES => {
                    if !matches!(found, Ok(1..)) {
                        return (socket, read, None);
                    }
                }
            }
        }
    })
}

/// Answers the calls of a connection until it is idle, has to wait for an answer, or ends. `answered` is a call
/// whose answer was waited for, and whose head `left_over` begins with.
async fn serve<'c, S: CallerSocket>(
    socket: S,
    peer: Option<PeerAddress>,
    left_over: Bytes,
    answered: Option<Call<'c>>,
    context: &'c ConnectionContext,
) -> Stretch<'c, S> {
    let Timeouts { header, body, .. } = context.timeouts;
    let activity = answered.as_ref().map_or_else(Activity::new, |call| Arc::clone(&call.activity));
    let stream = CallerStream::new(socket, left_over, Arc::clone(&activity), body);
    let current = CurrentCall::new(answered);
    let calls = service_fn(|request| {
        current.answer(request, &activity, |mut request| {
            peer.map(|peer| request.extensions_mut().insert(peer));
            let is_ending = || context.leaving.is_cancelled();
            answer(context.app.clone(), request, &activity, is_ending)
        })
    });
    let mut connection = bounded().serve_connection(TokioIo::new(stream), calls);
    let mut closing = pin!(context.closing.cancelled());
    let mut is_closing = false;
    let mut look = pin!(sleep(PARK_AFTER.min(header)));
    let is_parked = loop {
        tokio::select! {
            biased;
            result = &mut connection => {
                let is_read = !result.is_err_and(|error| is_stalled(&error));
                let socket = connection.into_parts().io.into_inner().into_socket();
                return if is_read { Stretch::Over(socket) } else { Stretch::Abandoned(socket) };
            }
            () = &mut closing, if !is_closing => {
                is_closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = &mut look => {
                let waits = current.is_unanswered();
                match activity.next(Instant::now(), header, PARK_AFTER, waits) {
                    Next::LookAt(time) => look.as_mut().reset(time),
                    Next::Park => break true,
                    Next::Close => break false,
                }
            }
        }
    };
    let call = current.take();
    let parts = connection.into_parts();
    let socket = parts.io.into_inner().into_socket();
    // A copy, because even an empty rest keeps the whole buffer that it was read into.
    let read = parts.read_buf.to_vec();
    match (is_parked, call) {
        (true, None) => Stretch::Idle(socket, read.into()),
        (true, Some(call)) => Stretch::Waiting(wait_for_answer(socket, read, call)),
        (false, _) => Stretch::Over(socket),
    }
}

/// Makes the bounds of a connection.
fn bounded() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Copying a small answer into one buffer costs less than a vectored write.
        .writev(false)
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(BUFFER_BYTES)
        // `activity` measures it: the timer of the library would run between calls as well.
        .header_read_timeout(None);
    builder
}

/// True for the error of a connection whose caller does not read what is written.
fn is_stalled(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
