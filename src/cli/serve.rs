//! `lockstep serve`: starts everything in order, serves until a signal, and stops in order.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::registration::Registration;
use crate::{
    api::{Limits, ShutdownGate},
    app,
    config::{Serve, count},
    server::{self, Stop},
    store::{Embedded, Store},
    sweeper, telemetry,
    types::Currency,
};

/// Serves until SIGTERM or SIGINT, and returns when all requests in flight are answered or the drain
/// timeout is over.
#[tokio::main]
pub(super) async fn serve(settings: Serve) -> Result<(), String> {
    telemetry::start_logs(settings.log_format, &settings.log);
    tokio::spawn(telemetry::run_upkeep());
    refuse_open_address(&settings)?;
    // Bound before the embedded server is started: if the port is taken, the program ends at once.
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; give another --listen", settings.listen)
    })?;
    let stop = Stop::default();
    stop_on_signals(&stop).map_err(|error| format!("cannot wait for signals: {error}"))?;

    settings.currencies.iter().cloned().for_each(Currency::declare);
    if let Some(url) = settings.redis_url.clone() {
        serve_on(url, false, listener, &settings, &stop).await?;
    } else {
        let embedded =
            Embedded::start(&settings.data_dir).await.map_err(|error| error.to_string())?;
        let result = serve_on(embedded.url(), true, listener, &settings, &stop).await;
        embedded.stop().await;
        result?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Serves from the Redis at `url`, which is the embedded server's if `embedded` says so.
async fn serve_on(
    url: String,
    embedded: bool,
    listener: TcpListener,
    settings: &Serve,
    stop: &Stop,
) -> Result<(), String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let store_settings = settings.store(url.clone());
    let store =
        Store::open(&store_settings).map_err(|error| format!("cannot use --redis-url: {error}"))?;
    let mut registration = Registration::new(url, store_settings.timeout, address);
    registration.start().await?;
    let period = Duration::from_millis(settings.sweep_interval_ms);
    tokio::spawn(sweeper::run(store.clone(), period));

    let body_timeout = Duration::from_millis(settings.body_timeout_ms);
    let gate = ShutdownGate::new(Limits { body_timeout, ..Limits::default() });
    let app_settings = app::RouterSettings {
        base_path: settings.base_path.clone(),
        body_limit_bytes: count(settings.body_limit_bytes),
    };
    let app = app::app(store.clone(), gate.clone(), &app_settings);
    welcome(address, settings, embedded);

    // A task of its own, because the registration has to outlast the drain.
    let mut keeping = tokio::spawn(registration.clone().keep());
    let mut refusal = None;
    let refused = async {
        if let Ok(sentence) = (&mut keeping).await {
            tracing::error!("stopping: {sentence}");
            refusal = Some(sentence);
            stop.in_order.cancel();
        }
        std::future::pending().await
    };
    let connections = count(settings.max_connections);
    tokio::select! {
        () = server::serve(listener, app, gate, settings.timeouts(), connections, stop.clone()) => {}
        () = refused => {}
    }
    store.close().await;
    keeping.abort();
    registration.end().await;
    refusal.map_or(Ok(()), Err)
}

/// Callers are not authenticated, so other addresses than loopback need `--insecure`.
fn refuse_open_address(settings: &Serve) -> Result<(), String> {
    if settings.listen.ip().is_loopback() || settings.insecure {
        return Ok(());
    }
    Err(format!(
        "{} is not a loopback address, and there is no authentication: give --insecure if \
         something in front keeps strangers out",
        settings.listen
    ))
}

/// Cancels `stop` on signals: SIGTERM of a process manager or SIGINT of a terminal stops the service in
/// order, and the second one at once. SIGHUP of a closed terminal, or of somebody who means that settings
/// should be read again, does nothing.
fn stop_on_signals(stop: &Stop) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let Stop { in_order, at_once } = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {
                    tracing::info!("SIGHUP is ignored: settings are read at the start only");
                    continue;
                }
            }
            if in_order.is_cancelled() {
                return at_once.cancel();
            }
            in_order.cancel();
        }
    });
    Ok(())
}

/// Prints where the service listens, to standard output. With port 0 this is the only place that
/// tells the port.
fn welcome(address: SocketAddr, settings: &Serve, embedded: bool) {
    let home = format!("http://{address}{}", settings.base_path);
    let data = match embedded {
        true => format!("its own server, data in {}", settings.data_dir.display()),
        false => "the Redis of --redis-url".to_owned(),
    };
    tracing::info!(%address, "listening, with {data}");
    let mut out = io::stdout();
    // Nobody may be reading standard output.
    let _ = writeln!(
        out,
        "Lockstep listens on {home} ({data}).\n\
         Swagger UI:  {home}/docs/\n\
         Try:         curl -s {home}/accounts -H 'Content-Type: application/json' \
         -d '{{\"account_id\":\"alice\",\"initial_balance\":\"100.00\"}}'"
    );
    let _ = out.flush();
}
