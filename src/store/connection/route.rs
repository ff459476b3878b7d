//! The route: where the server is, and the making of a connection to it.
//!
//! An address is resolved anew for each connection, and sentinels are asked anew, because the server behind them may
//! have become another one. Whoever finds that the server cannot serve leaves it: the generation of the route goes up,
//! and connections of earlier generations are not used again.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, RedisConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    sync::watch,
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Connection, RawConnection,
    address::{Address, HostPort, UrlPlace},
    entry::{EntrySources, ServerEntry},
    raw::RawSocket,
    replica, says_replica,
    sentinel::Sentinels,
    stream::{CountedStream, Written},
};
use crate::store::{
    Failure, ScriptValue, StartRefusal,
    format::check_text,
    settings::{Access, NodeMapping, StoreMode},
};

/// The idle time after which the operating system finds out whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The way to the server. Everything that the store sends goes over connections of one route.
pub(in crate::store) struct Route {
    place: UrlPlace,
    mode: StoreMode,
    /// The answer of the place, where the mode is to find out.
    found: OnceLock<SeedKind>,
    pub(super) sentinels: Sentinels,
    node_map: Vec<NodeMapping>,
    entry: Arc<EntrySources>,
    pub(super) timeout: Duration,
    generation: watch::Sender<u64>,
    /// The reason why calls are not sent yet.
    held_back: Mutex<Option<Failure>>,
}

/// The kind of what is at the place of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeedKind {
    Server,
    Sentinels,
}

/// The questions to a server before a connection to it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing, not even to let the service in.
    None,
    /// To let the service in.
    Login,
    /// That it is no replica, too.
    Primary,
    /// That its data have the format of this version, too.
    ForCalls,
}

/// A place at which the server may be.
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection that the server has taken, without a driver.
struct Dialed {
    connection: RawConnection,
    generation: u64,
    encrypts: bool,
}

/// The reason why there is no connection.
#[derive(Debug)]
pub(in crate::store) enum ConnectError {
    /// Settings do not fit what was found: the sentence about it.
    Misfit(String),
    Failed(Failure),
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> ConnectError {
        ConnectError::Failed(failure)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        match error {
            ConnectError::Misfit(sentence) => Failure::Unavailable(sentence),
            ConnectError::Failed(failure) => failure,
        }
    }
}

impl From<ConnectError> for StartRefusal {
    fn from(error: ConnectError) -> StartRefusal {
        match error {
            ConnectError::Misfit(sentence) => StartRefusal::Settings(sentence),
            ConnectError::Failed(failure) => StartRefusal::Unanswered(failure),
        }
    }
}

impl Route {
    /// The route to the server of a URL. `timeout` is the longest that a connection may take to be made.
    ///
    /// # Errors
    ///
    /// The sentence about a setting that is wrong, contradicts another one, or names a file that cannot be used.
    pub fn new(url: &str, access: &Access, timeout: Duration) -> Result<Route, String> {
        let address =
            Address::parse(url).map_err(|reason| format!("cannot use --redis-url: {reason}"))?;
        let (mode, node_map) = (access.mode, access.node_map.clone());
        let several = matches!(&address.place, UrlPlace::Tcp(hosts) if hosts.len() > 1);
        if mode == StoreMode::Single && several {
            return Err(
                "--redis-url has several addresses, and --redis-mode says single".to_owned()
            );
        }
        let is_socket = matches!(address.place, UrlPlace::Unix(_));
        if is_socket && mode == StoreMode::Sentinel {
            return Err(
                "sentinels are reached by redis:// or rediss://, not by a socket".to_owned()
            );
        }
        for (index, mapping) in node_map.iter().enumerate() {
            if node_map[..index].iter().any(|other| other.announced == mapping.announced) {
                return Err(format!("--redis-node-map has {} twice", mapping.announced));
            }
        }
        Ok(Route {
            entry: Arc::new(EntrySources::of(&address, access)?),
            place: address.place,
            mode,
            found: OnceLock::new(),
            sentinels: Sentinels::of_group(access.sentinel_master.clone()),
            node_map,
            timeout,
            generation: watch::Sender::new(0),
            held_back: Mutex::default(),
        })
    }

    /// The route to one server, which is reached as this one but for its address.
    pub fn to_node(&self, host_port: &HostPort) -> Route {
        Route {
            place: UrlPlace::Tcp(vec![host_port.clone()]),
            mode: StoreMode::Single,
            found: OnceLock::new(),
            sentinels: Sentinels::of_group(None),
            node_map: self.node_map.clone(),
            entry: Arc::clone(&self.entry),
            timeout: self.timeout,
            generation: watch::Sender::new(0),
            held_back: Mutex::default(),
        }
    }

    /// The routes to each address of `--redis-url`, as if it were that of a server.
    pub fn seeds(&self) -> Vec<Arc<Route>> {
        self.hosts().iter().map(|host| Arc::new(self.to_node(host))).collect()
    }

    /// The address of the server, where it is a single one that does not change.
    pub fn host_port(&self) -> Option<HostPort> {
        match (self.hosts(), self.found()) {
            ([host], found) if found != Some(SeedKind::Sentinels) => Some(host.clone()),
            _ => None,
        }
    }

    /// The address that is no sentinel, where `--redis-url` has several.
    pub fn misplaced(&self) -> Option<&HostPort> {
        match (self.hosts(), self.found()) {
            ([host, _, ..], Some(SeedKind::Server)) => Some(host),
            _ => None,
        }
    }

    /// Makes a connection for what comes before calls: the checks of the start, and migrations.
    ///
    /// # Errors
    ///
    /// The reason why the server does not take it.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        self.drive(self.dial(Greeting::Login).await?).await
    }

    /// Makes a connection for calls: to a server that is no replica and whose data have the format of
    /// this version.
    ///
    /// # Errors
    ///
    /// The reason why the server does not take it, or should not.
    pub async fn connect_for_calls(&self) -> Result<Connection, Failure> {
        if let Some(failure) = self.held_back() {
            return Err(failure);
        }
        Ok(self.drive(self.dial(Greeting::ForCalls).await?).await?)
    }

    /// Opens a socket to the server and logs in, for a protocol that is no sequence of commands and replies.
    ///
    /// # Errors
    ///
    /// The reason why the server does not take it.
    pub async fn connect_raw(&self) -> Result<RawConnection, Failure> {
        Ok(self.dial(Greeting::Login).await?.connection)
    }

    /// Subscribes to a channel on a connection of its own, which is of the generation that is returned with it.
    ///
    /// # Errors
    ///
    /// The reason why the server does not take it.
    pub async fn subscribe(&self, channel: &str) -> Result<(PubSub, u64), Failure> {
        let Dialed { connection, generation, .. } = self.dial(Greeting::Primary).await?;
        let subscribing = async {
            let mut subscribed = PubSub::new(&anonymous(), connection.into_socket()).await?;
            subscribed.subscribe(channel).await?;
            Ok::<_, redis::RedisError>(subscribed)
        };
        let subscribed = timeout(self.timeout, subscribing)
            .await
            .map_err(|_| Failure::Unavailable("no subscription in time".to_owned()))?;
        Ok((subscribed.map_err(|error| crate::store::admin::read_failure(&error))?, generation))
    }

    /// The failure of a connection that could not be made in time.
    pub fn not_in_time(&self) -> Failure {
        let hint = match self.entry.has_tls() {
            true => " (where the server expects no TLS, --redis-url begins with redis://)",
            false => "",
        };
        Failure::Unavailable(format!("no connection in time{hint}"))
    }

    /// True if its connections are encrypted.
    pub fn encrypts(&self) -> bool {
        self.entry.has_tls()
    }

    /// The generation that connections are made in now.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Resolves when connections of `generation` are not to be used any more.
    pub async fn left(&self, generation: u64) {
        let mut generations = self.generation.subscribe();
        // It ends with the route only, which is borrowed here.
        let _ = generations.wait_for(|now| *now != generation).await;
    }

    /// Leaves the server that a connection of `generation` leads to, unless it was left already.
    pub fn leave(&self, generation: u64) {
        let left = self.generation.send_if_modified(|now| {
            let leaves = *now == generation;
            *now += u64::from(leaves);
            leaves
        });
        if left {
            tracing::debug!("the server is left; its address is resolved anew");
        }
    }

    /// Makes no connections for calls from now on; they fail with `reason`.
    pub fn hold_back(&self, reason: Failure) {
        *self.held_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Ends what [`Route::hold_back`] began.
    pub fn admit(&self) {
        *self.held_back.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn held_back(&self) -> Option<Failure> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects to the server and greets it, in one timeout.
    async fn dial(&self, greeting: Greeting) -> Result<Dialed, ConnectError> {
        let generation = self.generation();
        let deadline = Instant::now() + self.timeout;
        let dialing = async {
            let entry = self.read_entry().await?;
            let connection = match &self.place {
                UrlPlace::Unix(path) => {
                    let target = Target::Unix(path.clone());
                    self.dial_target(&target, None, &entry, greeting).await?
                }
                UrlPlace::Tcp(hosts) => match self.find_out(hosts, &entry, deadline).await? {
                    SeedKind::Server => self.dial_any(hosts, &entry, greeting, deadline).await?,
                    SeedKind::Sentinels => {
                        self.dial_primary(hosts, &entry, greeting, deadline).await?
                    }
                },
            };
            Ok(Dialed { connection, generation, encrypts: entry.tls.is_some() })
        };
        timeout(self.timeout, dialing).await.map_err(|_| self.not_in_time())?
    }

    /// What is at the place, where that is known.
    pub(super) fn found(&self) -> Option<SeedKind> {
        match (&self.place, self.mode) {
            (UrlPlace::Unix(_), _) | (_, StoreMode::Single | StoreMode::Cluster) => {
                Some(SeedKind::Server)
            }
            (_, StoreMode::Sentinel) => Some(SeedKind::Sentinels),
            (_, StoreMode::Auto) => self.found.get().copied(),
        }
    }

    /// Finds out what is at the place, if it is not known yet.
    async fn find_out(
        &self,
        hosts: &[HostPort],
        entry: &ServerEntry,
        deadline: Instant,
    ) -> Result<SeedKind, ConnectError> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let mut failure = None;
        for (index, host) in hosts.iter().enumerate() {
            let share = share(deadline, hosts.len() - index);
            let found = match timeout(share, self.ask_kind(host, entry, deadline)).await {
                Ok(Ok(found)) => found,
                Ok(Err(reason)) => {
                    failure = Some(reason);
                    continue;
                }
                Err(_) => continue,
            };
            return Ok(*self.found.get_or_init(|| found));
        }
        Err(failure.unwrap_or_else(|| self.not_in_time()).into())
    }

    /// The addresses of `--redis-url`; none for a socket.
    pub(super) fn hosts(&self) -> &[HostPort] {
        match &self.place {
            UrlPlace::Tcp(hosts) => hosts,
            UrlPlace::Unix(_) => &[],
        }
    }

    /// The address at which a server is reached that is announced as `announced`.
    pub fn reachable(&self, announced: HostPort) -> HostPort {
        let mapping = self.node_map.iter().find(|mapping| mapping.announced == announced);
        mapping.map_or(announced, |mapping| mapping.reachable.clone())
    }

    /// Reads what lets the service in, from files where it is in files.
    pub(super) async fn read_entry(&self) -> Result<ServerEntry, Failure> {
        let read = if self.entry.has_files() {
            let entry = Arc::clone(&self.entry);
            let reading = spawn_blocking(move || entry.read()).await;
            reading.unwrap_or_else(|error| Err(error.to_string()))
        } else {
            self.entry.read()
        };
        read.map_err(Failure::Unavailable)
    }

    /// Connects to the first server that takes the connection: any node of a cluster knows the others.
    async fn dial_any(
        &self,
        hosts: &[HostPort],
        entry: &ServerEntry,
        greeting: Greeting,
        deadline: Instant,
    ) -> Result<RawConnection, Failure> {
        let mut failure = self.not_in_time();
        for (index, host) in hosts.iter().enumerate() {
            let share = share(deadline, hosts.len() - index);
            match timeout(share, self.dial_host(host, entry, greeting, deadline)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(reason)) => failure = reason,
                Err(_) => failure = self.not_in_time(),
            }
        }
        Err(failure)
    }

    /// Connects to the first address of a host that takes the connection.
    pub(super) async fn dial_host(
        &self,
        host: &HostPort,
        entry: &ServerEntry,
        greeting: Greeting,
        deadline: Instant,
    ) -> Result<RawConnection, Failure> {
        let found = lookup_host((host.host.as_str(), host.port)).await.map_err(failed)?;
        let addresses: Vec<_> = found.collect();
        let mut failure = Failure::Unavailable("the address has no server".to_owned());
        for (index, address) in addresses.iter().enumerate() {
            // A place that does not answer leaves time for those that follow.
            let share = share(deadline, addresses.len() - index);
            let target = Target::Tcp(*address);
            let dialing = self.dial_target(&target, Some(&host.host), entry, greeting);
            match timeout(share, dialing).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(reason)) => failure = reason,
                Err(_) => failure = self.not_in_time(),
            }
        }
        Err(failure)
    }

    /// Connects to one place, whose certificate is to have the name `host`.
    async fn dial_target(
        &self,
        target: &Target,
        host: Option<&str>,
        entry: &ServerEntry,
        greeting: Greeting,
    ) -> Result<RawConnection, Failure> {
        let socket = open(target, host, entry).await.map_err(failed)?;
        let mut connection = RawConnection::new(socket);
        let greeted = self.greet(&mut connection, entry, greeting).await;
        match greeted {
            Ok(replies) => replies.map(|()| connection),
            Err(error) => Err(lost(error, entry)),
        }
    }

    /// Has the server let the service in, and asks what the greeting has beside that. All of it is one round
    /// trip.
    async fn greet(
        &self,
        connection: &mut RawConnection,
        entry: &ServerEntry,
        greeting: Greeting,
    ) -> io::Result<Result<(), Failure>> {
        let database = self.entry.database.to_string();
        let mut commands = Vec::new();
        if greeting != Greeting::None {
            commands.extend(entry.login_command());
            if self.entry.database != 0 {
                commands.push(vec![b"SELECT", database.as_bytes()]);
            }
        }
        let checks_from = commands.len();
        if matches!(greeting, Greeting::Primary | Greeting::ForCalls) {
            commands.push(vec![b"INFO", b"replication"]);
        }
        if greeting == Greeting::ForCalls {
            commands.push(vec![b"GET", b"lockstep:format"]);
        }
        if commands.is_empty() {
            return Ok(Ok(()));
        }
        let replies = connection.ask_all(&commands).await?;
        let (logged_in, checks) = replies.split_at(checks_from);
        let check_format = greeting == Greeting::ForCalls;
        Ok(read_login(logged_in).and_then(|()| read_checks(checks, check_format)))
    }

    /// Gives a connection its driver.
    async fn drive(&self, dialed: Dialed) -> Result<Connection, ConnectError> {
        let Dialed { connection, generation, encrypts } = dialed;
        let written = Written::default();
        let socket = connection.into_socket();
        let stream = CountedStream { socket, written: written.clone(), encrypts };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let driven = MultiplexedConnection::new_with_config(&anonymous(), stream, config).await;
        let (multiplexed, driver) =
            driven.map_err(|error| Failure::Unavailable(error.to_string()))?;
        Ok(Connection {
            multiplexed,
            written,
            generation,
            role_checked: Instant::now(),
            activity: Arc::default(),
            _driver: Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))),
        })
    }
}

/// Settings of a driver that logs nobody in and names no library. The route has greeted the server already, because
/// a driver would lose the code of an error reply.
fn anonymous() -> RedisConnectionInfo {
    RedisConnectionInfo::default().set_skip_set_lib_name()
}

/// Opens a socket, encrypted where the entry says so.
async fn open(
    target: &Target,
    host: Option<&str>,
    entry: &ServerEntry,
) -> io::Result<Box<dyn RawSocket>> {
    let socket = match target {
        Target::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Target::Tcp(address) => TcpStream::connect(address).await?,
    };
    // Neither setting is needed for the connection to work.
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
    let (Some(tls), Some(host)) = (&entry.tls, host) else { return Ok(Box::new(socket)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let encrypted = tls.connect(name, socket).await;
    Ok(Box::new(encrypted.map_err(|error| io::Error::other(format!("TLS: {error}")))?))
}

/// The failure of a connection that was lost before it was used.
pub(super) fn lost(error: io::Error, entry: &ServerEntry) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let is_closed = matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof);
    if is_closed && entry.tls.is_none() {
        let cause = "the server closed the connection (where it expects TLS, --redis-url begins with rediss://)";
        return Failure::Unavailable(cause.to_owned());
    }
    failed(error)
}

fn read_login(replies: &[ScriptValue]) -> Result<(), Failure> {
    let refused = replies.iter().find_map(error_reply);
    refused.map_or(Ok(()), |failure| Err(failure.without_effect()))
}

/// Reads the replies about the role, and about the format where that was asked for.
fn read_checks(replies: &[ScriptValue], check_format: bool) -> Result<(), Failure> {
    if let Some(ScriptValue::Bytes(info)) = replies.first()
        && says_replica(info)
    {
        return Err(replica());
    }
    for reply in replies {
        if let ScriptValue::Error(text) = reply
            && (text.starts_with("NOAUTH") || text.starts_with("DENIED"))
            && let Some(failure) = error_reply(reply)
        {
            return Err(failure);
        }
    }
    // A server that does not tell the format is left to the call, which has a code for each reason.
    if let Some(ScriptValue::Bytes(text)) = replies.last()
        && check_format
    {
        let text = String::from_utf8_lossy(text);
        check_text(&text).map_err(|error| Failure::Unavailable(error.to_string()))?;
    }
    Ok(())
}

/// The failure that an error reply stands for; nothing for every other reply.
pub(super) fn error_reply(reply: &ScriptValue) -> Option<Failure> {
    let ScriptValue::Error(text) = reply else { return None };
    let (code, details) = text.split_once(' ').unwrap_or((text, ""));
    Some(Failure::from_error_reply(code, details))
}

pub(super) fn failed(error: io::Error) -> Failure {
    Failure::Unavailable(error.to_string())
}

/// The time that the next of `count` attempts has.
pub(super) fn share(deadline: Instant, count: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(count).unwrap_or(u32::MAX)
}
