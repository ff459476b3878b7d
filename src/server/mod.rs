//! Connections of callers: their number, their timeouts, TLS, and draining them at the end. `cli::serve`
//! runs it around the router of `app`.

mod activity;
mod call;
mod connection;
mod exchange;
mod http2;
mod socket;
mod stream;
mod streams;
mod tls;

use std::{sync::Arc, time::Duration};

use axum::Router;
use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::ShutdownGate;
use connection::ConnectionContext;

pub use tls::{IdentityFiles, TlsIdentity};

/// The time after the drain began in which new connections are still accepted and told that the service
/// stops, and in which callers on open connections learn it from their next answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// Timeouts of connections.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From accepting a connection to its first byte.
    pub first_byte: Duration,
    /// From the first byte of the head of a request to its end.
    pub header: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub keep_alive: Duration,
    /// For a caller that takes no byte of an answer, and for reading what it still sends after the
    /// last one.
    pub body: Duration,
    /// From the signal to stop until new requests are refused.
    pub shutdown_delay: Duration,
    /// From then until requests in flight are no longer waited for.
    pub drain: Duration,
}

/// What ends a service: the wish that it stops in order, and the wish that it stops at once.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Cancelled when the service is to answer its requests in flight and then end.
    pub in_order: CancellationToken,
    /// Cancelled when it is to end without waiting for anything.
    pub at_once: CancellationToken,
}

/// Serves until `stop` says so, with TLS where there is an identity, and then ends in four steps.
///
/// 1. For `timeouts.shutdown_delay` calls still work, and only `GET /readyz` says no. Every answer is
///    the last one of its connection; of HTTP/2, every connection is told to go away (GOAWAY).
/// 2. New requests are refused with `shutting_down`, and those in flight are answered.
/// 3. When all are answered, at least half a second and at most `timeouts.drain` later, nothing is
///    accepted any more, and idle connections are closed.
/// 4. Answers that are already written are sent.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<TlsIdentity>>,
    app: Router,
    gate: ShutdownGate,
    timeouts: Timeouts,
    max_connections: usize,
    stop: Stop,
) {
    let context = Arc::new(ConnectionContext {
        app,
        tls,
        timeouts,
        tells_peer: gate.access().is_some(),
        leaving: stop.in_order.clone(),
        closing: CancellationToken::new(),
        crowded: Notify::new(),
        streams: Arc::new(Semaphore::new(max_connections)),
    });
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept(&listener, max_connections, &context, &connections) => {}
        () = drain(&gate, timeouts, &stop.in_order) => {}
        () = stop.at_once.cancelled() => tracing::warn!("stopping at once"),
    }
    drop(listener);
    context.closing.cancel();
    connections.close();
    // Answers that are already written still have to be sent.
    tokio::select! {
        waited = timeout(Duration::from_secs(1).min(timeouts.drain), connections.wait()) => {
            if waited.is_err() {
                tracing::warn!("some connections were cut");
            }
        }
        () = stop.at_once.cancelled() => {}
    }
}

/// Accepts connections and spawns a task for each. While `max_connections` are open, the next one waits
/// for another to end, for which one that is idle is asked; all further ones wait in the backlog of the
/// listener.
async fn accept(
    listener: &TcpListener,
    max_connections: usize,
    context: &Arc<ConnectionContext>,
    connections: &TaskTracker,
) {
    let free = Arc::new(Semaphore::new(max_connections));
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let is_crowded = free.available_permits() == 0;
                if is_crowded {
                    context.crowded.notify_one();
                }
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
                if is_crowded {
                    // Where one has ended by itself meanwhile, the next one that is idle may stay.
                    let _ = context.crowded.notified().now_or_never();
                }
                connections.spawn(connection(socket, Arc::clone(context), permit));
            }
            Err(error) => {
                // Most likely there are no file descriptors left, so other connections must end
                // first.
                tracing::warn!(%error, "could not accept a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Waits for the wish to stop, and then until nothing is left to answer.
async fn drain(gate: &ShutdownGate, timeouts: Timeouts, in_order: &CancellationToken) {
    in_order.cancelled().await;
    gate.leave();
    if !timeouts.shutdown_delay.is_zero() {
        tracing::info!("stopping: not ready any more, still answering calls");
        sleep(timeouts.shutdown_delay).await;
    }
    tracing::info!("draining");
    gate.close();
    let farewell = sleep(FAREWELL.min(timeouts.drain));
    let (drained, ()) = tokio::join!(timeout(timeouts.drain, gate.drained()), farewell);
    if drained.is_err() {
        tracing::warn!("some requests had no answer within the drain timeout");
    }
}

/// Serves one connection, and counts it as open meanwhile.
async fn connection(
    socket: TcpStream,
    context: Arc<ConnectionContext>,
    _permit: OwnedSemaphorePermit,
) {
    let _open = Counted::new(metrics::gauge!("lockstep_http_connections"));
    match &context.tls {
        None => connection::run(socket, &context).await,
        // In a box, so that a connection without TLS does not have the room for it.
        Some(identity) => Box::pin(tls::run(socket, identity, &context)).await,
    }
}

/// Counts a connection in a gauge until this is dropped.
struct Counted(metrics::Gauge);

impl Counted {
    fn new(gauge: metrics::Gauge) -> Counted {
        gauge.increment(1);
        Counted(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
