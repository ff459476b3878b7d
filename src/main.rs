//! Reads the settings, starts what they ask for, and ends it in order.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use lockstep::{
    api::{Limits, ShutdownGate},
    app,
    config::{Cli, Command, Healthcheck, Serve, count},
    server,
    store::{Embedded, Store},
    sweeper, telemetry,
    types::Currency,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// A call is allocated on one thread and freed on another, all the time; the system's allocator
/// takes a lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, serve } = Cli::parse();
    let result = match command {
        None => run(serve),
        Some(Command::Serve(serve)) => run(*serve),
        Some(Command::Openapi) => print_openapi(),
        Some(Command::Healthcheck(settings)) => healthcheck(&settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("lockstep: {sentence}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(settings: Serve) -> Result<(), String> {
    telemetry::start_logs(settings.log_format, &settings.log);
    tokio::spawn(telemetry::run_upkeep());
    if !settings.listen.ip().is_loopback() && !settings.insecure {
        return Err(format!(
            "{} is not a loopback address, and there is no authentication: give --insecure if \
             something in front keeps strangers out",
            settings.listen
        ));
    }
    // Before the server is started: a port that is taken ends the program at once.
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; give another --listen", settings.listen)
    })?;
    let mut stop = stop_signals().map_err(|error| format!("cannot wait for signals: {error}"))?;

    settings.currencies.iter().cloned().for_each(Currency::declare);
    let embedded = match settings.redis_url {
        Some(_) => None,
        None => Some(Embedded::start(&settings.data_dir).await.map_err(|error| error.to_string())?),
    };
    let url = embedded.as_ref().map(Embedded::url).or(settings.redis_url.clone());
    let store = Store::open(&settings.store(url.unwrap_or_default()))
        .map_err(|error| format!("cannot use --redis-url: {error}"))?;
    warn_of_eviction(&store).await;

    let period = Duration::from_millis(settings.sweep_interval_ms);
    tokio::spawn(sweeper::run(store.clone(), period));

    let gate =
        ShutdownGate::new(Limits { body_timeout: Duration::from_millis(settings.body_timeout_ms) });
    let shape = app::Settings {
        base_path: settings.base_path.clone(),
        body_limit_bytes: count(settings.body_limit_bytes),
    };
    let app = app::app(store.clone(), gate.clone(), &shape);
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    welcome(address, &settings, embedded.is_some());

    let connections = count(settings.max_connections);
    server::serve(listener, app, gate, settings.timeouts(), connections, stop.any()).await;
    store.close().await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// SIGTERM from whoever manages the process, SIGINT from a terminal.
struct StopSignals([tokio::signal::unix::Signal; 2]);

fn stop_signals() -> io::Result<StopSignals> {
    Ok(StopSignals([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
}

impl StopSignals {
    async fn any(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

async fn warn_of_eviction(store: &Store) {
    match store.eviction_policy().await {
        Some(policy) if policy != "noeviction" => {
            tracing::warn!(%policy, "maxmemory-policy can evict money: set it to noeviction");
        }
        Some(_) => {}
        None => tracing::warn!("Redis has not answered yet; calls are refused until it does"),
    }
}

fn welcome(address: SocketAddr, settings: &Serve, embedded: bool) {
    let home = format!("http://{address}{}", settings.base_path);
    let data = match embedded {
        true => format!("its own server, data in {}", settings.data_dir.display()),
        false => "the Redis of --redis-url".to_owned(),
    };
    tracing::info!(%address, "listening, with {data}");
    // The address may be port 0's choice, so whoever started this reads it here, if anybody does.
    let mut out = io::stdout();
    let _ = writeln!(
        out,
        "Lockstep listens on {home} ({data}).\n\
         Swagger UI:  {home}/docs/\n\
         Try:         curl -s {home}/accounts -H 'Content-Type: application/json' \
         -d '{{\"account_id\":\"alice\",\"initial_balance\":\"100.00\"}}'"
    );
    let _ = out.flush();
}

fn print_openapi() -> Result<(), String> {
    let text =
        serde_json::to_string_pretty(&app::document("")).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{text}").map_err(|error| error.to_string())
}

/// Asks `/readyz` over a plain socket: a container has no curl.
fn healthcheck(settings: &Healthcheck) -> Result<(), String> {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let timeout = Duration::from_secs(3);
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        let path = format!("{}/readyz", settings.base_path);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("{address} does not answer: {error}"))?;
    let status = answer.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(()) } else { Err(format!("{address} is not ready: {status}")) }
}
