//! One connection of a caller, from its first byte to its end. `server` spawns a task for each.
//!
//! Between calls, and during a call that takes long, a connection is *parked*: the HTTP library and its buffers,
//! some 20 KiB, are given up until the next byte or the answer is there. So thousands of idle connections of
//! gateways cost little, and thousands of calls that wait for a lock too.
//!
//! A connection is closed in order: what was written is ended, and what the caller still sends is read
//! and dropped, up to a bound. Closed at once, unread bytes would make the kernel reset the connection,
//! and the reset destroys an answer that the caller has not read yet.

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
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Counted, Timeouts,
    activity::{Activity, Next},
    call::{Call, CurrentCall},
    exchange::answer,
    stream::CallerStream,
};
use crate::api::PeerAddress;

/// The most bytes of a head; also the most bytes that are read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The time after which a connection is parked: between two calls, or since its caller has to wait for the answer.
const PARK_AFTER: Duration = Duration::from_millis(100);

/// The most bytes that are read and dropped after the last answer of a connection.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;

/// The longest pause between those bytes.
const DISCARD_PAUSE: Duration = Duration::from_secs(2);

/// The time for all of them once the service ends.
const DISCARD_AT_END: Duration = Duration::from_millis(500);

/// What all connections share.
pub(super) struct ConnectionContext {
    pub(super) app: Router,
    pub(super) timeouts: Timeouts,
    /// True if the service asks for the address of a caller.
    pub(super) tells_peer: bool,
    /// Every answer from now on is the last one of its connection.
    pub(super) leaving: CancellationToken,
    /// Connections without a call in progress end now, and the others after it.
    pub(super) closing: CancellationToken,
    /// New connections wait until others end: one that is idle is to end.
    pub(super) crowded: Notify,
}

/// Serves one connection until its caller, a timeout or the end of the service ends it.
pub(super) async fn run(mut socket: TcpStream, context: &ConnectionContext) {
    // Without this a small answer waits until the one before it is acknowledged (Nagle's algorithm).
    let _ = socket.set_nodelay(true);
    let peer = socket.peer_addr().ok().filter(|_| context.tells_peer);
    let peer = peer.map(|address| PeerAddress(address.ip()));
    let (mut left_over, mut answered) = (Bytes::new(), None);
    let mut wait = context.timeouts.first_byte;
    loop {
        if left_over.is_empty() && !next_byte(&socket, wait, context).await {
            return;
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
                let _ = socket.set_zero_linger();
                return;
            }
        }
        wait = context.timeouts.keep_alive;
    }
}

/// Waits for the next byte of a connection. Returns false if the connection is to end.
async fn next_byte(socket: &TcpStream, wait: Duration, context: &ConnectionContext) -> bool {
    let idle = metrics::gauge!("lockstep_http_connections_idle");
    let _idle = Counted::new(idle);
    let mut byte = [0];
    tokio::select! {
        // A request that has arrived is answered, whatever else has happened.
        biased;
        found = socket.peek(&mut byte) => matches!(found, Ok(1)),
        () = context.closing.cancelled() => false,
        () = context.crowded.notified() => false,
        () = sleep(wait) => false,
    }
}

/// The end of a stretch of calls.
enum Stretch<'c> {
    /// No call has come for a while. The bytes are the beginning of the next one.
    Idle(TcpStream, Bytes),
    /// The answer to a call is not there yet.
    Waiting(Waiting<'c>),
    /// The last answer is written, or the caller has ended the connection.
    Over(TcpStream),
    /// The caller does not read what is written.
    Abandoned(TcpStream),
}

/// A connection that is parked until the answer to its call is there. It ends with the socket, what the caller has sent
/// meanwhile, and the call with its answer, or without the call if the caller goes away before.
type Waiting<'c> =
    Pin<Box<dyn Future<Output = (TcpStream, Vec<u8>, Option<Call<'c>>)> + Send + 'c>>;

/// Waits for the answer to a call. `read` is what the caller has sent after it.
fn wait_for_answer<'c>(socket: TcpStream, mut read: Vec<u8>, mut call: Call<'c>) -> Waiting<'c> {
    Box::pin(async move {
        let _waiting = Counted::new(metrics::gauge!("lockstep_http_connections_waiting"));
        loop {
            tokio::select! {
                biased;
                answer = &mut call.answering => return (socket, read, Some(call.answered(answer))),
                // Reading finds out that the caller has gone.
                readable = socket.readable(), if read.len() < BUFFER_BYTES => {
                    let found = readable.and_then(|()| socket.try_read_buf(&mut read));
                    let is_open = match found {
                        Ok(bytes) => bytes > 0,
                        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                    };
                    if !is_open {
                        return (socket, read, None);
                    }
                }
            }
        }
    })
}

/// Answers the calls of a connection until it is idle, has to wait for an answer, or ends. `answered` is a call
/// whose answer was waited for, and whose head `left_over` begins with.
async fn serve<'c>(
    socket: TcpStream,
    peer: Option<PeerAddress>,
    left_over: Bytes,
    answered: Option<Call<'c>>,
    context: &'c ConnectionContext,
) -> Stretch<'c> {
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

/// Ends what was written, and reads on until the caller has ended its side too, or a bound is reached.
async fn close(mut socket: TcpStream, context: &ConnectionContext) {
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
