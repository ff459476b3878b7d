//! Takes connections and lets them go: the timeouts and the cap that a listener on its own has not.

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

/// How long the parts of a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From accepting a connection to its first byte.
    pub first_byte: Duration,
    /// For the head of a request; also how long a connection may idle between two of them.
    pub header: Duration,
    /// From the signal to stop to the end of the last connection.
    pub drain: Duration,
}

/// Serves until `stop` resolves, then drains: who is inside is answered, who comes later is told
/// `shutting_down`, and after `timeouts.drain` nobody is waited for.
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
            // Who finds no place waits in the listener's backlog.
            let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (app, closing) = (app.clone(), closing.clone());
                    connections.spawn(connection(stream, app, timeouts, closing, place));
                }
                Err(error) => {
                    // Out of descriptors, most likely: others must end first.
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
    // What is written already still has to reach its caller.
    if timeout(Duration::from_secs(1).min(timeouts.drain), connections.wait()).await.is_err() {
        tracing::warn!("some connections were cut");
    }
}

async fn connection(
    stream: TcpStream,
    app: Router,
    timeouts: Timeouts,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let open = metrics::gauge!("lockstep_http_connections");
    open.increment(1);
    let _closed = Closed(open);
    // Answers are small; without this the second of two waits for the first one's acknowledgement.
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
        // An answer is small: one copy costs less than a list of buffers.
        .writev(false)
        .header_read_timeout(timeouts.header)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // A caller that breaks off is no event of ours.
        _ = serving.as_mut() => return,
        () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

struct Closed(metrics::Gauge);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
