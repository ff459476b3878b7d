//! Connections of callers: their number, their timeouts, and draining them at the end. `cli::serve`
//! runs it around the router of `app`.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::ShutdownGate;

/// Timeouts of connections.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From accepting a connection to its first byte.
    pub first_byte: Duration,
    /// For the head of a request; also the idle time between two requests of a connection.
    pub header: Duration,
    /// From the signal to stop until requests in flight are no longer waited for.
    pub drain: Duration,
}

/// Serves until `stop` resolves, and then drains: it answers the requests in flight, refuses new
/// ones with `shutting_down`, and returns after `timeouts.drain` at the latest.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    gate: ShutdownGate,
    timeouts: Timeouts,
    max_connections: usize,
    stop: impl Future<Output = ()>,
) {
    let free = Arc::new(Semaphore::new(max_connections));
    let connections = TaskTracker::new();
    let closing = CancellationToken::new();
    let accepting = async {
        loop {
            // While all permits are taken, new connections wait in the backlog of the listener.
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (app, closing) = (app.clone(), closing.clone());
                    connections.spawn(connection(stream, app, timeouts, closing, permit));
                }
                Err(error) => {
                    // Most likely there are no file descriptors left, so other connections must
                    // end first.
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    let draining = async {
        stop.await;
        tracing::info!("draining");
        gate.close();
        if timeout(timeouts.drain, gate.drained()).await.is_err() {
            tracing::warn!("some requests had no answer within the drain timeout");
        }
    };
    tokio::select! {
        () = accepting => {}
        () = draining => {}
    }
    closing.cancel();
    connections.close();
    // Answers that are already written still have to be sent.
    if timeout(Duration::from_secs(1).min(timeouts.drain), connections.wait()).await.is_err() {
        tracing::warn!("some connections were cut");
    }
}

/// Serves one connection until its caller or `closing` ends it.
async fn connection(
    stream: TcpStream,
    app: Router,
    timeouts: Timeouts,
    closing: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let open = metrics::gauge!("lockstep_http_connections");
    open.increment(1);
    let _closed = Closed(open);
    // Without this a small answer waits until the one before it is acknowledged (Nagle's algorithm).
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    tokio::select! {
        waited = timeout(timeouts.first_byte, stream.peek(&mut first)) => {
            if !matches!(waited, Ok(Ok(1))) {
                return;
            }
        }
        () = closing.cancelled() => return,
    }
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // Copying a small answer into one buffer costs less than a vectored write.
        .writev(false)
        .header_read_timeout(timeouts.header)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // An error here means that the caller has closed the connection.
        _ = serving.as_mut() => return,
        () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Counts a connection as closed when it is dropped.
struct Closed(metrics::Gauge);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
