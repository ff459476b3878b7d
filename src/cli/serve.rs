//! `lockstep serve`: starts everything in order, serves until a signal, and stops in order.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use futures_util::future::join;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};

use super::{descriptors, print_in_time, registration::Registration, root_key};
use crate::{
    api::{AccessSettings, BodyRoom, Limits, ShutdownGate},
    app,
    config::{Serve, count},
    keys::follow_keys,
    monitoring::Flusher,
    ratelimit::follow_policies,
    rls,
    server::{self, Stop, TlsIdentity},
    store::{self, Embedded, Failure, Store},
    sweeper,
    telemetry::{self, CallStatistics, Traces},
    types::Currency,
};

/// Serves until SIGTERM or SIGINT, and returns when all requests in flight are answered or the drain
/// timeout is over.
#[tokio::main]
pub(super) async fn serve(settings: Serve) -> Result<(), String> {
    let traces = settings.otlp_endpoint.as_deref().map(Traces::export_to).transpose()?;
    let _logs = telemetry::start_logs(settings.log_format, &settings.log, traces.as_ref())
        .map_err(|error| format!("cannot write a log: {error}"))?;
    let result = start(&settings).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    result
}

/// Takes the port, starts the embedded server where there is to be one, and serves.
async fn start(settings: &Serve) -> Result<(), String> {
    match &settings.server.redis_url {
        None if settings.wait_replicas > 0 => {
            return Err("--wait-replicas needs a server with replicas: give --redis-url".to_owned());
        }
        None => settings.server.check_unused()?,
        Some(url) => settings.store(url.clone()).check()?,
    }
    tokio::spawn(telemetry::run_upkeep());
    let access = root_key::access(settings)?;
    // Bound before the embedded server is started: if the port is taken, the program ends at once.
    let tls = settings.tls()?.map(TlsIdentity::read).transpose()?.map(Arc::new);
    let listeners = Listeners::bind(settings, tls, access.is_some())?;
    let stop = Stop::default();
    obey_signals(&stop, listeners.tls.clone())
        .map_err(|error| format!("cannot wait for signals: {error}"))?;

    settings.currencies.iter().cloned().for_each(Currency::declare);
    let embedded = match settings.server.redis_url {
        None => Some(Embedded::on(&settings.data_dir).map_err(|error| error.to_string())?),
        Some(_) => None,
    };
    let result = serve_on(embedded.clone(), listeners, access, settings, &stop).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    result?;
    tracing::info!("stopped");
    Ok(())
}

/// The sockets on which the service listens.
struct Listeners {
    http: TcpListener,
    /// The certificate of `http`, where it speaks TLS.
    tls: Option<Arc<TlsIdentity>>,
    /// For Envoy's rate limit service, where it is asked for.
    rls: Option<TcpListener>,
}

impl Listeners {
    fn bind(
        settings: &Serve,
        tls: Option<Arc<TlsIdentity>>,
        has_keys: bool,
    ) -> Result<Listeners, String> {
        let may_be_open = has_keys || settings.insecure;
        let http = listen(settings.listen, "--listen", may_be_open)?;
        let rls = match settings.rls_listen {
            Some(address) => Some(listen(address, "--rls-listen", may_be_open)?),
            None => None,
        };
        Ok(Listeners { http, tls, rls })
    }

    fn count(&self) -> u64 {
        1 + u64::from(self.rls.is_some())
    }
}

/// Serves from the first moment, and starts the embedded server meanwhile, where there is to be one. Calls
/// are refused until the server has been looked at.
async fn serve_on(
    embedded: Option<Embedded>,
    listeners: Listeners,
    access: Option<AccessSettings>,
    settings: &Serve,
    stop: &Stop,
) -> Result<(), String> {
    let address = listeners.http.local_addr().map_err(|error| error.to_string())?;
    let rls_address = listeners.rls.as_ref().and_then(|listener| listener.local_addr().ok());
    let own_url = embedded.as_ref().map(Embedded::url);
    let url = own_url.or_else(|| settings.server.redis_url.clone()).unwrap_or_default();
    let store_settings = settings.store(url);
    let store_connections = store_settings.connections() as u64;
    let most = settings.max_connections;
    let connections = descriptors::fit_connections(most, listeners.count(), store_connections)?;
    let store = open_store(&store_settings, settings.sweep_interval_ms, access.as_ref())?;
    let is_open = access.is_none() && !settings.insecure;
    let statistics = settings.statistics.then(CallStatistics::default);
    let (app, gate) = router(settings, &store, access, statistics.clone());
    let mut flusher = Flusher::new(store.clone(), statistics.clone().unwrap_or_default());
    let registration = Registration::new(address, is_open);
    let addresses = (address, rls_address);
    let mut keeping =
        keep_registered(embedded, registration.clone(), store.clone(), settings.clone(), addresses);
    let mut refusal = None;
    let refused = async {
        if let Ok(sentence) = (&mut keeping).await {
            tracing::error!("stopping: {sentence}");
            refusal = Some(sentence);
            stop.in_order.cancel();
        }
        std::future::pending().await
    };
    let ending_waits = async {
        gate.closed().await;
        store.drain();
        std::future::pending().await
    };
    let Listeners { http, tls, rls } = listeners;
    let bounds = settings.rls(connections);
    let (timeouts, connections) = (settings.timeouts(), count(connections));
    let callers = server::serve(http, tls, app, gate.clone(), timeouts, connections, stop.clone());
    let gateways = answer_gateways(rls, bounds, &store, statistics, &gate, stop);
    tokio::select! {
        _ = join(callers, gateways) => {}
        () = refused => {}
        () = ending_waits => {}
        () = flusher.run() => {}
    }
    finish_statistics(&mut flusher).await;
    store.close().await;
    keeping.abort();
    registration.end(&store).await;
    refusal.map_or(Ok(()), Err)
}

/// Starts the embedded server where there is to be one, and keeps the registration. This is a task of its own, because
/// the registration has to outlast the drain. It ends with the reason for which the service cannot serve.
fn keep_registered(
    embedded: Option<Embedded>,
    registration: Registration,
    store: Store,
    settings: Serve,
    (address, rls_address): (SocketAddr, Option<SocketAddr>),
) -> JoinHandle<String> {
    tokio::spawn(async move {
        if let Some(embedded) = &embedded
            && let Err(error) = embedded.start().await
        {
            return error.to_string();
        }
        let attempted = || welcome(address, rls_address, &settings, embedded.is_some());
        registration.keep(store, attempted).await
    })
}

/// Opens the store, which refuses calls until the server has been looked at, and starts what goes on beside calls.
fn open_store(
    settings: &store::Settings,
    sweep_interval_ms: u64,
    access: Option<&AccessSettings>,
) -> Result<Store, String> {
    let store = Store::open(settings)?;
    store.hold_back(Failure::Unavailable("the service has not looked at it yet".to_owned()));
    tokio::spawn(sweeper::run(store.clone(), Duration::from_millis(sweep_interval_ms)));
    tokio::spawn(follow_policies(store.clone()));
    if let Some(access) = access {
        // The end of the service waits for it, because it stores when keys were last used.
        store.spawn(follow_keys(store.clone(), Arc::clone(&access.ring)));
    }
    Ok(store)
}

/// Answers gateways until the end of the service, where it listens for them.
async fn answer_gateways(
    listener: Option<TcpListener>,
    bounds: rls::Bounds,
    store: &Store,
    statistics: Option<CallStatistics>,
    gate: &ShutdownGate,
    stop: &Stop,
) {
    let Some(listener) = listener else { return };
    rls::serve(listener, store.clone(), gate.clone(), bounds, statistics, stop.clone()).await;
}

/// The longest wait for the last statistics, which would hold up the end of the service.
const STATISTICS_TIMEOUT: Duration = Duration::from_secs(1);

/// Stores the statistics of the last second.
async fn finish_statistics(flusher: &mut Flusher) {
    match timeout(STATISTICS_TIMEOUT, flusher.finish()).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => tracing::warn!(%failure, "the last statistics were not stored"),
        Err(_) => tracing::warn!("the last statistics were not stored in time"),
    }
}

/// The router, and the gate that says to it when the service stops.
fn router(
    settings: &Serve,
    store: &Store,
    access: Option<AccessSettings>,
    statistics: Option<CallStatistics>,
) -> (Router, ShutdownGate) {
    let body_timeout = Duration::from_millis(settings.body_timeout_ms);
    let gate = ShutdownGate::new(Limits {
        body_timeout,
        body_bytes: count(settings.body_limit_bytes),
        body_room: BodyRoom::of_bytes(settings.body_room_bytes()),
    });
    let app_settings = app::RouterSettings {
        base_path: settings.base_path.clone(),
        body_limit_bytes: count(settings.body_limit_bytes),
        limit_headers: settings.ratelimit_headers,
        statistics,
        access_log: settings.access_log,
        hosts: settings.hosts(access.is_some()),
        cors_origins: settings.cors_origins.clone(),
        access,
    };
    (app::app(store.clone(), gate.clone(), &app_settings), gate)
}

/// Newcomers that may wait to be accepted. The system lowers it to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// Listens on an address. The bind functions of the libraries let 128 newcomers wait: of a thousand that come at once,
/// most would try again after a second.
fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on the address of a setting. Without keys, other addresses than loopback need `--insecure`:
/// `may_be_open` says that there is one of the two.
fn listen(address: SocketAddr, setting: &str, may_be_open: bool) -> Result<TcpListener, String> {
    if !address.ip().is_loopback() && !may_be_open {
        return Err(format!(
            "{address} is not a loopback address, and callers have no keys: give --root-key-file, or --insecure if \
             something in front keeps strangers out"
        ));
    }
    listen_at(address)
        .map_err(|error| format!("cannot listen on {address}: {error}; give another {setting}"))
}

/// Cancels `stop` on signals: SIGTERM of a process manager or SIGINT of a terminal stops the service in
/// order, and the second one at once. SIGHUP has the files of `tls` read again; without TLS, SIGHUP of a closed
/// terminal, or of somebody who means that settings should be read again, does nothing.
fn obey_signals(stop: &Stop, tls: Option<Arc<TlsIdentity>>) -> io::Result<()> {
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
                    read_again(tls.clone());
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

/// Reads the certificate again on a thread of its own, so that a slow disk holds up no signal.
fn read_again(tls: Option<Arc<TlsIdentity>>) {
    let Some(tls) = tls else {
        return tracing::info!("SIGHUP is ignored: settings are read at the start only");
    };
    tokio::task::spawn_blocking(move || match tls.read_again() {
        Ok(()) => {
            tracing::info!("SIGHUP: new connections get the certificate that --tls-cert has now")
        }
        Err(sentence) => tracing::warn!("SIGHUP: the old certificate stays, because {sentence}"),
    });
}

/// Prints where the service listens, to standard output. With port 0 this is the only place that
/// tells the port.
fn welcome(address: SocketAddr, rls_address: Option<SocketAddr>, settings: &Serve, embedded: bool) {
    let has_tls = settings.tls_cert.is_some();
    let scheme = if has_tls { "https" } else { "http" };
    let home = format!("{scheme}://{address}{}", settings.base_path);
    let data = match embedded {
        true => format!("its own server, data in {}", settings.data_dir.display()),
        false => "the Redis of --redis-url".to_owned(),
    };
    tracing::info!(%address, "listening, with {data}");
    let key = if settings.has_root_key() { " -H 'Authorization: Bearer lsk_...'" } else { "" };
    // Curl says why it does not trust a certificate.
    let quiet = if has_tls { "-sS" } else { "-s" };
    let mut text = format!(
        "Lockstep listens on {home} ({data}).\n\
         Swagger UI:  {home}/docs/\n\
         Try:         curl {quiet} {home}/accounts{key} -H 'Content-Type: application/json' \
         -d '{{\"account_id\":\"alice\",\"initial_balance\":\"100.00\"}}'"
    );
    if let Some(address) = rls_address {
        text.push_str(&format!("\nEnvoy (RLS): {address}, gRPC"));
    }
    print_in_time(move || {
        let mut out = io::stdout();
        // Standard output may be closed.
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    });
}
