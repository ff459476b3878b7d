//! The route: where the server is, and the making of a connection to it.
//!
//! An address is resolved anew for each connection, because the server behind it may have become another
//! one. Whoever finds that the server cannot serve leaves it: the generation of the route goes up, and
//! connections of earlier generations are not used again.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Connection, RawConnection, ask_role, is_replica,
    raw::RawSocket,
    replica,
    stream::{CountedStream, Written},
};
use crate::store::{Address, Failure, format::check_text};

/// The idle time after which the operating system finds out whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The way to the server. Everything that the store sends goes over connections of one route.
pub(in crate::store) struct Route {
    info: ConnectionInfo,
    timeout: Duration,
    generation: AtomicU64,
    /// The reason why calls are not sent yet.
    held_back: Mutex<Option<Failure>>,
}

/// A place at which the server may be.
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Route {
    /// The route to the server of a URL. `timeout` is the longest that a connection may take to be made.
    ///
    /// # Errors
    ///
    /// When the URL is not one of Redis, or asks for what is not supported.
    pub fn new(url: &str, timeout: Duration) -> RedisResult<Route> {
        let info = url.into_connection_info()?;
        if let ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) = info.addr() {
            let (generation, held_back) = (AtomicU64::new(0), Mutex::default());
            return Ok(Route { info, timeout, generation, held_back });
        }
        Err(RedisError::from((ErrorKind::InvalidClientConfig, "TLS to Redis is not supported yet")))
    }

    /// The route to another server, which is reached as this one but for its address.
    pub fn to_node(&self, address: &Address) -> Route {
        let Address { host, port } = address.clone();
        let info = self.info.clone().set_addr(ConnectionAddr::Tcp(host, port));
        let (generation, held_back) = (AtomicU64::new(0), Mutex::default());
        Route { info, timeout: self.timeout, generation, held_back }
    }

    /// The address of the server; `None` for a Unix socket.
    pub fn address(&self) -> Option<Address> {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => Some(Address { host: host.clone(), port: *port }),
            _ => None,
        }
    }

    /// The client that makes the connection of a subscription.
    ///
    /// # Errors
    ///
    /// When the driver does not support what the URL asks for.
    pub fn subscriber(&self) -> RedisResult<redis::Client> {
        // The user need not have the right to name its library.
        let settings = self.info.redis_settings().clone().set_skip_set_lib_name();
        redis::Client::open(self.info.clone().set_redis_settings(settings))
    }

    /// Makes a connection for what comes before calls: the checks of the start, and migrations.
    ///
    /// # Errors
    ///
    /// The reason why the server does not take it.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        self.connect_within(false).await
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
        self.connect_within(true).await
    }

    /// Opens a socket to the server and logs in, for a protocol that is no sequence of commands and replies.
    ///
    /// # Errors
    ///
    /// The reason why the server does not take it.
    pub async fn connect_raw(&self) -> Result<RawConnection, Failure> {
        let not_in_time = || Failure::Unavailable("no connection in time".to_owned());
        let connecting = async {
            let targets = self.resolve().await?;
            let target = targets.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let socket: Box<dyn RawSocket> = match target {
                Target::Tcp(address) => {
                    let socket = TcpStream::connect(address).await?;
                    socket.set_nodelay(true)?;
                    Box::new(socket)
                }
                Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
            };
            let mut connection = RawConnection::new(socket);
            let settings = self.info.redis_settings();
            if let Some(password) = settings.password() {
                let user = settings.username().unwrap_or("default");
                connection.ask(&["AUTH", user, password]).await?;
            }
            if settings.db() != 0 {
                connection.ask(&["SELECT", &settings.db().to_string()]).await?;
            }
            Ok::<_, io::Error>(connection)
        };
        let connected = timeout(self.timeout, connecting).await.map_err(|_| not_in_time())?;
        connected.map_err(|error| Failure::Unavailable(error.to_string()))
    }

    /// The generation that connections are made in now.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Leaves the server that a connection of `generation` leads to, unless it was left already.
    pub fn leave(&self, generation: u64) {
        let next = generation + 1;
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        if self.generation.compare_exchange(generation, next, success, failure).is_ok() {
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

    /// Connects to the first place that takes the connection.
    async fn connect_within(&self, for_calls: bool) -> Result<Connection, Failure> {
        let started = Instant::now();
        let not_in_time = || Failure::Unavailable("no connection in time".to_owned());
        let targets = timeout(self.timeout, self.resolve()).await.map_err(|_| not_in_time())?;
        let targets = targets.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let mut failure = Failure::Unavailable("the address has no server".to_owned());
        for (index, target) in targets.iter().enumerate() {
            // A place that does not answer leaves time for those that follow.
            let left = self.timeout.saturating_sub(started.elapsed());
            let share = left / u32::try_from(targets.len() - index).unwrap_or(u32::MAX);
            match timeout(share, self.connect_to(target, for_calls)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(reason)) => failure = reason,
                Err(_) => failure = not_in_time(),
            }
        }
        Err(failure)
    }

    /// The places at which the server may be, now.
    async fn resolve(&self) -> io::Result<Vec<Target>> {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => Ok(vec![Target::Unix(path.clone())]),
            ConnectionAddr::Tcp(host, port) => {
                Ok(lookup_host((host.as_str(), *port)).await?.map(Target::Tcp).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn connect_to(&self, target: &Target, for_calls: bool) -> Result<Connection, Failure> {
        let generation = self.generation();
        let refused = |error: io::Error| Failure::Unavailable(error.to_string());
        let mut connection = match target {
            Target::Unix(path) => {
                let socket = UnixStream::connect(path).await.map_err(refused)?;
                self.drive(socket, generation).await?
            }
            Target::Tcp(address) => {
                let socket = TcpStream::connect(address).await.map_err(refused)?;
                // Neither setting is needed for the connection to work.
                let _ = socket.set_nodelay(true);
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
                let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
                self.drive(socket, generation).await?
            }
        };
        self.greet(&mut connection, for_calls).await?;
        Ok(connection)
    }

    /// Wraps a socket, and sends nothing.
    async fn drive<S>(&self, socket: S, generation: u64) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let written = Written::default();
        let stream = CountedStream { socket, written: written.clone() };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        // `greet` logs in, because the driver would lose the code of an error reply.
        let anonymous = RedisConnectionInfo::default().set_skip_set_lib_name();
        let driven = MultiplexedConnection::new_with_config(&anonymous, stream, config).await;
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

    /// Logs in and selects the database; for calls, also asks for the role of the server and the format
    /// of its data. All of that is one round trip.
    async fn greet(&self, connection: &mut Connection, for_calls: bool) -> Result<(), Failure> {
        let settings = self.info.redis_settings();
        let mut pipeline = Pipeline::new();
        if let Some(password) = settings.password() {
            pipeline.cmd("AUTH").arg(settings.username()).arg(password);
        }
        if settings.db() != 0 {
            pipeline.cmd("SELECT").arg(settings.db());
        }
        let checks_from = pipeline.len();
        if for_calls {
            ask_role(&mut pipeline);
            pipeline.cmd("GET").arg("lockstep:format");
        }
        if pipeline.is_empty() {
            return Ok(());
        }
        pipeline.ignore_errors();
        let sent = connection.send(&pipeline, self.timeout).await;
        let replies = sent.map_err(|unanswered| Failure::Unavailable(unanswered.cause))?;
        let (logged_in, checks) = replies.split_at(checks_from);
        for reply in logged_in {
            if let Value::ServerError(error) = reply {
                return Err(Failure::from_server_error(error).without_effect());
            }
        }
        if checks.first().is_some_and(is_replica) {
            return Err(replica());
        }
        for reply in checks {
            if let Value::ServerError(error) = reply
                && matches!(error.code(), "NOAUTH" | "DENIED")
            {
                return Err(Failure::from_server_error(error));
            }
        }
        // A server that does not tell the format is left to the call, which has a code for each reason.
        if let Some(Value::BulkString(text)) = checks.last() {
            let text = String::from_utf8_lossy(text);
            check_text(&text).map_err(|error| Failure::Unavailable(error.to_string()))?;
        }
        Ok(())
    }
}
