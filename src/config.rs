//! Every setting, once: the flag, its environment variable, its default and its help.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{server::Timeouts, store, telemetry::LogFormat, types::Currency};

/// Atomic business operations over HTTP, on Redis or Valkey.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; serve, where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`.
    #[command(flatten)]
    pub serve: Serve,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the operations over HTTP (the default)
    Serve(Box<Serve>),
    /// Print the OpenAPI document
    Openapi,
    /// Ask a running service whether it is ready; exit with 0 if it is
    Healthcheck(Healthcheck),
}

/// The settings of the service.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Address to listen on
    #[arg(long, env = "LOCKSTEP_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Listen on other addresses than loopback although there is no authentication: something in
    /// front must keep strangers out
    #[arg(long, env = "LOCKSTEP_INSECURE")]
    pub insecure: bool,

    /// Redis or Valkey to use, redis://HOST:PORT/DB or unix:///PATH; without it, a server of its
    /// own is started in the data directory
    #[arg(long, env = "LOCKSTEP_REDIS_URL")]
    pub redis_url: Option<String>,

    /// Where the embedded server keeps its data
    #[arg(long, env = "LOCKSTEP_DATA_DIR", default_value = "lockstep-data")]
    pub data_dir: PathBuf,

    /// Path in front of every route, for gateways that want one, such as /lockstep
    #[arg(long, env = "LOCKSTEP_BASE_PATH", default_value = "", value_parser = base_path)]
    pub base_path: String,

    /// How log lines are written
    #[arg(long, env = "LOCKSTEP_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged, such as info or lockstep=debug
    #[arg(long, env = "LOCKSTEP_LOG", default_value = "info")]
    pub log: String,

    /// How long a command is remembered under its Idempotency-Key
    #[arg(long, env = "LOCKSTEP_IDEMPOTENCY_TTL_MS", default_value_t = 86_400_000, value_parser = positive())]
    pub idempotency_ttl_ms: u64,

    /// How long a transaction can be found by its id and reversed (90 days)
    #[arg(long, env = "LOCKSTEP_TRANSACTION_TTL_MS", default_value_t = 7_776_000_000, value_parser = positive())]
    pub transaction_ttl_ms: u64,

    /// How many of its newest transactions an account keeps at least
    #[arg(long, env = "LOCKSTEP_HISTORY", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub history: u64,

    /// A currency beside those of ISO 4217 and how many decimals it has, such as POINTS=0; again for
    /// every one
    #[arg(long = "currency", env = "LOCKSTEP_CURRENCIES", value_delimiter = ',', value_parser = Currency::declaration)]
    pub currencies: Vec<Currency>,

    /// How often the sweeper takes a look at a part of the keys for holds that have ended
    #[arg(long, env = "LOCKSTEP_SWEEP_INTERVAL_MS", default_value_t = 1000, value_parser = positive())]
    pub sweep_interval_ms: u64,

    /// Connections to Redis that carry scripts, each with a queue of its own; with one, more calls
    /// share a script
    #[arg(long, env = "LOCKSTEP_STORE_CONNECTIONS", default_value_t = 1, value_parser = positive())]
    pub store_connections: u64,

    /// Connections to Redis for POST /transactions, one for each that is on its way
    #[arg(long, env = "LOCKSTEP_STORE_TRANSACTIONS", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub store_transactions: u64,

    /// Calls that may wait for Redis before the next one is refused as overloaded
    #[arg(long, env = "LOCKSTEP_STORE_QUEUE", default_value_t = 8192, value_parser = positive())]
    pub store_queue: u64,

    /// How long a call waits to be sent to Redis, and then for its answer
    #[arg(long, env = "LOCKSTEP_STORE_TIMEOUT_MS", default_value_t = 5000, value_parser = positive())]
    pub store_timeout_ms: u64,

    /// Largest body that is read
    #[arg(long, env = "LOCKSTEP_BODY_LIMIT_BYTES", default_value_t = 262_144, value_parser = positive())]
    pub body_limit_bytes: u64,

    /// How long a body may take to arrive
    #[arg(long, env = "LOCKSTEP_BODY_TIMEOUT_MS", default_value_t = 10_000, value_parser = positive())]
    pub body_timeout_ms: u64,

    /// How long a new connection may stay silent
    #[arg(long, env = "LOCKSTEP_FIRST_BYTE_TIMEOUT_MS", default_value_t = 10_000, value_parser = positive())]
    pub first_byte_timeout_ms: u64,

    /// How long the head of a request may take, and how long a connection may idle between two
    #[arg(long, env = "LOCKSTEP_HEADER_TIMEOUT_MS", default_value_t = 75_000, value_parser = positive())]
    pub header_timeout_ms: u64,

    /// How long the service waits for open requests when it is told to stop
    #[arg(long, env = "LOCKSTEP_DRAIN_TIMEOUT_MS", default_value_t = 10_000, value_parser = positive())]
    pub drain_timeout_ms: u64,

    /// Connections of callers at a time; more wait to be accepted
    #[arg(long, env = "LOCKSTEP_MAX_CONNECTIONS", default_value_t = 10_000, value_parser = positive())]
    pub max_connections: u64,
}

/// The settings of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct Healthcheck {
    /// Address of the service
    #[arg(long, env = "LOCKSTEP_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Its base path
    #[arg(long, env = "LOCKSTEP_BASE_PATH", default_value = "", value_parser = base_path)]
    pub base_path: String,
}

/// Durations and counts that may not be zero; the upper bound keeps sums of them from overflowing.
fn positive() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=1 << 40)
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if path.is_empty() || (path.starts_with('/') && !path.contains("//") && path.bytes().all(plain))
    {
        Ok(path.to_owned())
    } else {
        Err("a base path starts with / and has letters, digits and -._~ between slashes".to_owned())
    }
}

impl Serve {
    /// How the store is reached.
    pub fn store(&self, url: String) -> store::Settings {
        store::Settings {
            url,
            batch_workers: count(self.store_connections),
            transactions: count(self.store_transactions),
            queue: count(self.store_queue),
            timeout: Duration::from_millis(self.store_timeout_ms),
            retention: store::Retention {
                idempotency_ttl_ms: self.idempotency_ttl_ms,
                transaction_ttl_ms: self.transaction_ttl_ms,
                history: self.history,
            },
        }
    }

    /// How long connections may take.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            first_byte: Duration::from_millis(self.first_byte_timeout_ms),
            header: Duration::from_millis(self.header_timeout_ms),
            drain: Duration::from_millis(self.drain_timeout_ms),
        }
    }
}

/// A number of things in memory.
pub fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
