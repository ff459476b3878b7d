//! The settings of the program: for each its flag, environment variable, default and help. The
//! comments of the fields are the text of `--help`. `cli` reads them.

use std::{ffi::OsStr, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use axum::http::{HeaderValue, uri::Authority};
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::{
        BoolishValueParser, EnumValueParser, PathBufValueParser, PossibleValue, Resettable,
        StringValueParser, TypedValueParser,
    },
};

use crate::{
    api::AllowedHosts,
    auth::{AddressRange, KeyDigest},
    cache::MAX_BODY_BYTES,
    ratelimit::HeaderForm,
    rls,
    server::{IdentityFiles, Timeouts},
    store,
    telemetry::{LogFormat, otlp_endpoint},
    types::Currency,
};

/// Atomic business operations over HTTP, on Redis or Valkey
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command to run; `serve` by default.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
    /// Settings of `serve`, when no command is given.
    #[command(flatten)]
    pub serve: Serve,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Serve the operations over HTTP (the default)
    Serve(Box<Serve>),
    /// Print the OpenAPI document
    Openapi,
    /// Ask a running service whether it is ready, and exit with 0 if it is
    Healthcheck(Healthcheck),
    /// Bring the data to the format of this version, while no service runs on them
    ///
    /// An interrupted migration is resumed by running it again; no service starts before it has ended.
    /// Make a backup first: there is no way back to the older format.
    Migrate(StoreAddress),
    /// Print what is stored under a key of the service, as JSON
    ///
    /// It only reads, also while services run. Amounts are whole numbers of minor units, and instants are
    /// milliseconds since 1970 where their name says nothing else.
    Show(Show),
    /// Make keys of callers
    Keys {
        /// The command about keys.
        #[command(subcommand)]
        command: KeysCommand,
    },
}

/// The commands about keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print a new key for --root-key-file, and its SHA-256 to standard error
    ///
    /// The key is kept nowhere: it works once a service is started with it or with its SHA-256.
    Create,
}

/// Settings of `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Address and port to listen on; port 0 chooses a free one
    #[arg(long, env = "LOCKSTEP_LISTEN", default_value = "127.0.0.1:8080", value_parser = trimmed(SocketAddr::from_str))]
    pub listen: SocketAddr,

    /// Address and port on which Envoy's rate limit service (RLS, gRPC) listens; without it there is none
    #[arg(long, env = "LOCKSTEP_RLS_LISTEN", value_parser = trimmed(SocketAddr::from_str))]
    pub rls_listen: Option<SocketAddr>,

    /// PEM file with the certificate of the service and those between it and its authority; with it --listen speaks
    /// TLS, and both files are read again on SIGHUP
    #[arg(long, env = "LOCKSTEP_TLS_CERT", value_parser = trimmed(PathBufValueParser::new()))]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key of that certificate
    #[arg(long, env = "LOCKSTEP_TLS_KEY", value_parser = trimmed(PathBufValueParser::new()))]
    pub tls_key: Option<PathBuf>,

    /// Let callers in without keys on an address other than loopback, and on data that have keys; a gateway or
    /// firewall in front must keep strangers out
    #[arg(long, env = "LOCKSTEP_INSECURE", value_parser = trimmed(BoolishValueParser::new()))]
    pub insecure: bool,

    /// File with the root key, which makes all other keys; with it every call needs a key. `lockstep keys create`
    /// prints one
    #[arg(long, env = "LOCKSTEP_ROOT_KEY_FILE", conflicts_with = "root_key_sha256", value_parser = trimmed(PathBufValueParser::new()))]
    pub root_key_file: Option<PathBuf>,

    /// SHA-256 of the root key in place of the file, 64 hexadecimal digits
    #[arg(long, env = "LOCKSTEP_ROOT_KEY_SHA256", value_parser = trimmed(KeyDigest::from_hex))]
    pub root_key_sha256: Option<KeyDigest>,

    /// Calls without a valid key that an address may make in a minute; further ones are refused as too_many_failures
    #[arg(long, env = "LOCKSTEP_AUTH_FAILURES", default_value_t = 100, value_parser = trimmed(clap::value_parser!(u32).range(1..=1_000_000)))]
    pub auth_failures: u32,

    /// Addresses of gateways whose X-Forwarded-For or Forwarded tells the address of a caller, such as 10.0.0.0/8;
    /// can be given several times
    #[arg(long = "trusted-proxy", env = "LOCKSTEP_TRUSTED_PROXIES", value_delimiter = ',', value_parser = trimmed(AddressRange::from_str))]
    pub trusted_proxies: Vec<AddressRange>,

    /// Host beside those of loopback that requests may name, where the service listens on loopback and has no keys; *
    /// for any; can be given several times
    #[arg(long = "allow-host", env = "LOCKSTEP_ALLOW_HOSTS", value_delimiter = ',', value_parser = trimmed(host))]
    pub allow_hosts: Vec<String>,

    /// Origin of web pages whose scripts may call the service from a browser, such as `https://app.example`; * for any;
    /// can be given several times
    #[arg(long = "cors-origin", env = "LOCKSTEP_CORS_ORIGINS", value_delimiter = ',', value_parser = trimmed(origin))]
    pub cors_origins: Vec<HeaderValue>,

    /// The server of one's own.
    #[command(flatten)]
    pub server: ServerSettings,

    /// Directory in which the embedded server keeps its data
    #[arg(long, env = "LOCKSTEP_DATA_DIR", default_value = "lockstep-data", value_parser = trimmed(PathBufValueParser::new()))]
    pub data_dir: PathBuf,

    /// Prefix of every path, such as /lockstep, for gateways that need one
    #[arg(long, env = "LOCKSTEP_BASE_PATH", default_value = "", value_parser = trimmed(base_path))]
    pub base_path: String,

    /// Format of log lines
    #[arg(long, env = "LOCKSTEP_LOG_FORMAT", default_value = "text", value_parser = trimmed(EnumValueParser::<LogFormat>::new()))]
    pub log_format: LogFormat,

    /// Log filter, such as info or lockstep=debug
    #[arg(long, env = "LOCKSTEP_LOG", default_value = "info", value_parser = trimmed(StringValueParser::new()))]
    pub log: String,

    /// Write a line of the log for each call, at the level info of the target lockstep::access
    #[arg(long, env = "LOCKSTEP_ACCESS_LOG", value_parser = trimmed(BoolishValueParser::new()))]
    pub access_log: bool,

    /// Count calls for GET /monitoring/transactions and failures, and store the counts in Redis once a second
    #[arg(long, env = "LOCKSTEP_STATISTICS", default_value = "true", action = ArgAction::Set, value_parser = trimmed(BoolishValueParser::new()))]
    pub statistics: bool,

    /// Collector that traces are exported to, by OTLP over HTTP, such as http://127.0.0.1:4318
    #[arg(long, env = "LOCKSTEP_OTLP_ENDPOINT", value_parser = trimmed(otlp_endpoint))]
    pub otlp_endpoint: Option<String>,

    /// Time for which the answer to a command is kept under its Idempotency-Key, in milliseconds (24
    /// hours)
    #[arg(long, env = "LOCKSTEP_IDEMPOTENCY_TTL_MS", default_value_t = 86_400_000, value_parser = trimmed(positive()))]
    pub idempotency_ttl_ms: u64,

    /// Time for which a transaction of an account can be read by its id and reversed, in milliseconds
    /// (90 days)
    #[arg(long, env = "LOCKSTEP_TRANSACTION_TTL_MS", default_value_t = 7_776_000_000, value_parser = trimmed(positive()))]
    pub transaction_ttl_ms: u64,

    /// Newest transactions that the history of an account keeps at least
    #[arg(long, env = "LOCKSTEP_HISTORY", default_value_t = 10_000, value_parser = trimmed(clap::value_parser!(u64).range(100..=1_000_000)))]
    pub history: u64,

    /// Currency beside those of ISO 4217, with its number of decimals, such as POINTS=0; can be given
    /// several times
    #[arg(long = "currency", env = "LOCKSTEP_CURRENCIES", value_delimiter = ',', value_parser = trimmed(Currency::declaration))]
    pub currencies: Vec<Currency>,

    /// Pause between two pages of the sweeper, which ends expired holds and reservations that no
    /// call reads, in milliseconds
    #[arg(long, env = "LOCKSTEP_SWEEP_INTERVAL_MS", default_value_t = 1000, value_parser = trimmed(positive()))]
    pub sweep_interval_ms: u64,

    /// Connections to Redis for operations, each with a queue of its own; with fewer connections,
    /// more operations share a script
    #[arg(long, env = "LOCKSTEP_STORE_CONNECTIONS", default_value_t = 1, value_parser = trimmed(positive()))]
    pub store_connections: u64,

    /// Connections to Redis for POST /transactions; each transaction in progress uses one
    #[arg(long, env = "LOCKSTEP_STORE_TRANSACTIONS", default_value_t = 16, value_parser = trimmed(clap::value_parser!(u64).range(1..=1000)))]
    pub store_transactions: u64,

    /// Operations that may wait for Redis before the next one is refused as overloaded
    #[arg(long, env = "LOCKSTEP_STORE_QUEUE", default_value_t = 8192, value_parser = trimmed(positive()))]
    pub store_queue: u64,

    /// Bytes of operations that may wait for Redis or be on their way; the operation that exceeds them is
    /// refused as overloaded (64 MiB)
    #[arg(long, env = "LOCKSTEP_STORE_QUEUE_BYTES", default_value_t = 67_108_864, value_parser = trimmed(clap::value_parser!(u64).range(1..=u64::from(u32::MAX))))]
    pub store_queue_bytes: u64,

    /// Longest time that an operation waits to be sent to Redis, and again for its reply, in
    /// milliseconds
    #[arg(long, env = "LOCKSTEP_STORE_TIMEOUT_MS", default_value_t = 5000, value_parser = trimmed(positive()))]
    pub store_timeout_ms: u64,

    /// Replicas that have to have what a call wrote before it is acknowledged; a call that too few have in time is
    /// answered with not_durable
    #[arg(long, env = "LOCKSTEP_WAIT_REPLICAS", default_value_t = 0, value_parser = trimmed(clap::value_parser!(u32).range(..=100)))]
    pub wait_replicas: u32,

    /// Longest wait for replicas, in milliseconds, less than --store-timeout-ms; grants of locks wait for one replica
    /// wherever the server has some
    #[arg(long, env = "LOCKSTEP_WAIT_TIMEOUT_MS", default_value_t = 1000, value_parser = trimmed(positive()))]
    pub wait_timeout_ms: u64,

    /// Largest request body in bytes
    #[arg(long, env = "LOCKSTEP_BODY_LIMIT_BYTES", default_value_t = 262_144, value_parser = trimmed(positive()))]
    pub body_limit_bytes: u64,

    /// Longest time that a request body may take to arrive, and that a caller may take no byte of an
    /// answer, in milliseconds
    #[arg(long, env = "LOCKSTEP_BODY_TIMEOUT_MS", default_value_t = 10_000, value_parser = trimmed(positive()))]
    pub body_timeout_ms: u64,

    /// Longest time from accepting a connection to its first byte, in milliseconds
    #[arg(long, env = "LOCKSTEP_FIRST_BYTE_TIMEOUT_MS", default_value_t = 10_000, value_parser = trimmed(positive()))]
    pub first_byte_timeout_ms: u64,

    /// Longest time for the head of a request from its first byte, in milliseconds
    #[arg(long, env = "LOCKSTEP_HEADER_TIMEOUT_MS", default_value_t = 10_000, value_parser = trimmed(positive()))]
    pub header_timeout_ms: u64,

    /// Longest idle time between two requests of a connection, in milliseconds; longer than that of
    /// the gateway in front
    #[arg(long, env = "LOCKSTEP_KEEP_ALIVE_TIMEOUT_MS", default_value_t = 620_000, value_parser = trimmed(positive()))]
    pub keep_alive_timeout_ms: u64,

    /// Time after the signal to stop in which calls still work while GET /readyz says no, in
    /// milliseconds; as long as the balancer in front needs to notice
    #[arg(long, env = "LOCKSTEP_SHUTDOWN_DELAY_MS", default_value_t = 0, value_parser = trimmed(clap::value_parser!(u64).range(..=1 << 40)))]
    pub shutdown_delay_ms: u64,

    /// Longest time that the service waits for requests in flight when it stops, in milliseconds
    #[arg(long, env = "LOCKSTEP_DRAIN_TIMEOUT_MS", default_value_t = 10_000, value_parser = trimmed(positive()))]
    pub drain_timeout_ms: u64,

    /// Headers that tell of rate limits: those of the IETF draft, X-RateLimit-*, or none
    #[arg(long, env = "LOCKSTEP_RATELIMIT_HEADERS", default_value = "draft", value_parser = trimmed(EnumValueParser::<HeaderForm>::new()))]
    pub ratelimit_headers: HeaderForm,

    /// Open connections of callers, on each address on which the service listens; more wait to be accepted
    #[arg(long, env = "LOCKSTEP_MAX_CONNECTIONS", default_value_t = 10_000, value_parser = trimmed(positive()))]
    pub max_connections: u64,
}

/// Where a server of one's own is, and how it lets the service in.
#[derive(Debug, Clone, Args)]
pub struct ServerSettings {
    /// Redis or Valkey to use, redis://HOST:PORT/DB, rediss://HOST:PORT/DB for TLS, or unix:///PATH; of sentinels all,
    /// between commas; by default the service starts an embedded server of its own
    #[arg(long, env = "LOCKSTEP_REDIS_URL", hide_env_values = true, value_parser = trimmed(StringValueParser::new()))]
    pub redis_url: Option<String>,

    /// What is at --redis-url; auto asks it
    #[arg(long, env = "LOCKSTEP_REDIS_MODE", default_value = "auto", value_parser = trimmed(EnumValueParser::<store::StoreMode>::new()))]
    pub redis_mode: store::StoreMode,

    /// Name under which the sentinels know the group; needed where they know several
    #[arg(long, env = "LOCKSTEP_SENTINEL_MASTER", value_parser = trimmed(StringValueParser::new()))]
    pub sentinel_master: Option<String>,

    /// User of Redis, where --redis-url has none
    #[arg(long, env = "LOCKSTEP_REDIS_USER", value_parser = trimmed(StringValueParser::new()))]
    pub redis_user: Option<String>,

    /// File with the password of the Redis user; it is read for each connection, so that it may change
    #[arg(long, env = "LOCKSTEP_REDIS_PASSWORD_FILE", value_parser = trimmed(PathBufValueParser::new()))]
    pub redis_password_file: Option<PathBuf>,

    /// PEM file with the authorities that may sign certificates of servers, instead of those that browsers trust
    #[arg(long, env = "LOCKSTEP_REDIS_CA_FILE", value_parser = trimmed(PathBufValueParser::new()))]
    pub redis_ca_file: Option<PathBuf>,

    /// PEM file with the certificate that the service shows to servers
    #[arg(long, env = "LOCKSTEP_REDIS_CLIENT_CERT", value_parser = trimmed(PathBufValueParser::new()))]
    pub redis_client_cert: Option<PathBuf>,

    /// PEM file with the private key of that certificate
    #[arg(long, env = "LOCKSTEP_REDIS_CLIENT_KEY", value_parser = trimmed(PathBufValueParser::new()))]
    pub redis_client_key: Option<PathBuf>,

    /// Where a server is reached that sentinels announce with another address, such as
    /// 10.0.0.1:6379=redis-1.example:6379; can be given several times
    #[arg(long, env = "LOCKSTEP_REDIS_NODE_MAP", value_delimiter = ',', value_parser = trimmed(store::NodeMapping::from_str))]
    pub redis_node_map: Vec<store::NodeMapping>,
}

impl ServerSettings {
    /// What the store is told beside the URL.
    pub fn access(&self) -> store::Access {
        store::Access {
            mode: self.redis_mode,
            sentinel_master: self.sentinel_master.clone(),
            user: self.redis_user.clone(),
            password_file: self.redis_password_file.clone(),
            ca_file: self.redis_ca_file.clone(),
            client_cert: self.redis_client_cert.clone(),
            client_key: self.redis_client_key.clone(),
            node_map: self.redis_node_map.clone(),
        }
    }

    /// Refuses settings of a server of one's own where there is none: a URL that was forgotten would otherwise mean
    /// an empty server.
    ///
    /// # Errors
    ///
    /// The sentence about them.
    pub fn check_unused(&self) -> Result<(), String> {
        if self.access() == store::Access::default() {
            return Ok(());
        }
        Err("the settings of a server (--redis-..., --sentinel-master) need --redis-url".to_owned())
    }
}

/// Settings of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct Healthcheck {
    /// Address and port of the service
    #[arg(long, env = "LOCKSTEP_LISTEN", default_value = "127.0.0.1:8080", value_parser = trimmed(SocketAddr::from_str))]
    pub listen: SocketAddr,

    /// Prefix of every path of the service
    #[arg(long, env = "LOCKSTEP_BASE_PATH", default_value = "", value_parser = trimmed(base_path))]
    pub base_path: String,

    /// PEM file with the certificate of the service; where one is named, the service is asked over TLS, and any
    /// certificate is good enough
    #[arg(long, env = "LOCKSTEP_TLS_CERT", value_parser = trimmed(PathBufValueParser::new()))]
    pub tls_cert: Option<PathBuf>,
}

/// Settings of `show`.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Key as it is in Redis, such as lockstep:{main}:account:alice
    pub key: String,

    /// Parts of a collection to show at most: entries of a log, the newest first, members of a sorted set,
    /// or fields of a hash
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub limit: u64,

    /// The store that has the key.
    #[command(flatten)]
    pub store: StoreAddress,
}

/// The store of a command that runs beside services or without them.
#[derive(Debug, Clone, Args)]
pub struct StoreAddress {
    /// The server that has the data; without one an embedded server is started on --data-dir.
    #[command(flatten)]
    pub server: ServerSettings,

    /// Directory in which the embedded server keeps its data
    #[arg(long, env = "LOCKSTEP_DATA_DIR", default_value = "lockstep-data", value_parser = trimmed(PathBufValueParser::new()))]
    pub data_dir: PathBuf,
}

impl Cli {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// The message for the person who has written it; or help, where that is asked for.
    pub fn read() -> Result<Cli, clap::Error> {
        let matches: ArgMatches = Cli::settings().try_get_matches()?;
        Cli::from_arg_matches(&matches)
    }

    /// All commands with their settings. A variable of the environment that is empty or blank counts as one
    /// that is not set, because templates of containers have many of those.
    fn settings() -> Command {
        fn without_blank(argument: Arg) -> Arg {
            let value = argument.get_env().and_then(std::env::var_os);
            let is_blank = value
                .is_some_and(|value| value.to_str().is_some_and(|text| text.trim().is_empty()));
            if is_blank { argument.env(Resettable::Reset) } else { argument }
        }
        let command = Cli::command().mut_args(without_blank);
        command.mut_subcommands(|command| command.mut_args(without_blank))
    }
}

/// Parses a value as `parser` does, without the blanks around it. Every setting has one of these.
fn trimmed<P: TypedValueParser>(parser: P) -> Trimmed<P> {
    Trimmed(parser)
}

#[derive(Clone)]
struct Trimmed<P>(P);

impl<P: TypedValueParser> TypedValueParser for Trimmed<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<P::Value, clap::Error> {
        let value = value.to_str().map_or(value, |text| OsStr::new(text.trim()));
        self.0.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// Parses a duration or count of at least 1. The upper bound, 2^40, keeps sums from overflowing.
fn positive() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=1 << 40)
}

/// Parses the name of a host, without a port.
fn host(text: &str) -> Result<String, String> {
    let is_host = text == "*" || text.parse::<Authority>().is_ok_and(|host| host.host() == text);
    is_host
        .then(|| text.to_owned())
        .ok_or_else(|| "a host is a name without a port, or *".to_owned())
}

/// Parses the origin of a page: scheme, host and port, as browsers send it.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_origin = |host: &str| {
        host.parse::<Authority>().is_ok_and(|authority| authority.as_str() == host)
            && !host.contains('@')
    };
    let value = HeaderValue::from_str(text).ok();
    value
        .filter(|_| text == "*" || host.is_some_and(is_origin))
        .ok_or_else(|| "an origin is https://HOST or https://HOST:PORT, or *".to_owned())
}

/// Parses a prefix of paths and removes slashes at its end.
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
    /// The memory for bodies that arrive in parts: that of four full queues, and that of the largest body at least.
    pub fn body_room_bytes(&self) -> usize {
        let largest = count(self.body_limit_bytes).max(MAX_BODY_BYTES);
        count(self.store_queue_bytes.saturating_mul(4)).max(largest)
    }

    /// Settings of the store that is reached at `url`.
    pub fn store(&self, url: String) -> store::Settings {
        store::Settings {
            url,
            access: self.server.access(),
            batch_workers: count(self.store_connections),
            transactions: count(self.store_transactions),
            queue: count(self.store_queue),
            queue_bytes: count(self.store_queue_bytes),
            timeout: Duration::from_millis(self.store_timeout_ms),
            wait_replicas: self.wait_replicas,
            wait_timeout: Duration::from_millis(self.wait_timeout_ms),
            retention: store::Retention {
                idempotency_ttl_ms: self.idempotency_ttl_ms,
                transaction_ttl_ms: self.transaction_ttl_ms,
                history: self.history,
            },
        }
    }

    /// The files of TLS, where callers have it.
    ///
    /// # Errors
    ///
    /// The sentence about one without the other.
    pub fn tls(&self) -> Result<Option<IdentityFiles>, String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                Ok(Some(IdentityFiles { cert: cert.clone(), key: key.clone() }))
            }
            (None, None) => Ok(None),
            _ => Err("--tls-cert and --tls-key belong together: give both".to_owned()),
        }
    }

    /// True if callers need keys.
    pub fn has_root_key(&self) -> bool {
        self.root_key_file.is_some() || self.root_key_sha256.is_some()
    }

    /// The hosts that requests may name; `None` for any, where callers have keys or the service listens on another
    /// address than loopback.
    pub fn hosts(&self, has_keys: bool) -> Option<AllowedHosts> {
        let is_open = !has_keys && self.listen.ip().is_loopback();
        let origins = self.cors_origins.iter().filter_map(|origin| origin.to_str().ok());
        let origins = origins.map(str::to_owned).collect();
        is_open.then(|| AllowedHosts::new(self.allow_hosts.clone(), origins))
    }

    /// Bounds of the rate limit service, which may have `max_connections`.
    pub fn rls(&self, max_connections: u64) -> rls::Bounds {
        rls::Bounds {
            max_connections: count(max_connections),
            body_limit_bytes: count(self.body_limit_bytes),
            limit_headers: self.ratelimit_headers,
            timeouts: self.timeouts(),
        }
    }

    /// Timeouts of connections.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            first_byte: Duration::from_millis(self.first_byte_timeout_ms),
            header: Duration::from_millis(self.header_timeout_ms),
            keep_alive: Duration::from_millis(self.keep_alive_timeout_ms),
            body: Duration::from_millis(self.body_timeout_ms),
            shutdown_delay: Duration::from_millis(self.shutdown_delay_ms),
            drain: Duration::from_millis(self.drain_timeout_ms),
        }
    }
}

/// A count as `usize`; one that does not fit is the largest possible.
pub fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
