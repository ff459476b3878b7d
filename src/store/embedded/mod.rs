//! The embedded server: a child process on a unix socket that Lockstep starts where it is given no URL,
//! restarts when it dies, and stops last. `cli` starts and stops it.

mod config;
mod data;
mod start_error;
mod supervisor;

use std::{
    collections::VecDeque,
    fmt::Write,
    fs::{self, DirBuilder, File},
    io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock, statvfs},
    process::{Pid, Signal, kill_process},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time,
};
use tokio_util::sync::CancellationToken;

pub use start_error::StartError;

use supervisor::supervise;

/// Server programs that are looked for in PATH, the preferred one first.
const SERVERS: [&str; 2] = ["valkey-server", "redis-server"];

/// The least free disk space for a start. With less, a write to the append-only file is about to fail, and
/// with `appendfsync always` that ends the server.
const LEAST_FREE_BYTES: u64 = 16 * 1024 * 1024;

/// The longest wait for the answer of a server that another process may be running.
const RUNNING_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest path of a unix socket that the kernel takes, in bytes.
const LONGEST_SOCKET_PATH: usize = 107;

/// The longest wait for the lock of the data directory: the server of a service that has just died may
/// need that long to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that the server may take to end by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A server and its supervisor. Clones are handles on the same one.
#[derive(Clone)]
pub struct Embedded(Arc<Shared>);

struct Shared {
    program: PathBuf,
    folder: PathBuf,
    /// Redis does not lock its directory, and two servers on one corrupt it. The server inherits
    /// the descriptor, so the lock lasts as long as any of the two processes.
    lock: OnceLock<File>,
    state: Mutex<State>,
    /// Cancelled when the supervisor has ended, and with it the last server.
    ended: CancellationToken,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// True once a supervisor runs.
    supervised: bool,
    /// True once a server has read its data. From then on there are data.
    was_ready: bool,
    server: Option<Pid>,
    deaths: u32,
    last_lines: VecDeque<String>,
}

impl Shared {
    fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedded {
    /// Finds the server program and makes the data directory. Starts nothing yet.
    ///
    /// # Errors
    ///
    /// The reason why a server cannot be started there, one sentence each.
    pub fn on(data_dir: &Path) -> Result<Embedded, StartError> {
        let unusable = |cause| StartError::DataDir { path: data_dir.to_owned(), cause };
        let program = find_server().ok_or(StartError::NoServer)?;
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        let folder = fs::canonicalize(data_dir).map_err(unusable)?;
        let shared = Shared {
            program,
            folder,
            lock: OnceLock::new(),
            state: Mutex::default(),
            ended: CancellationToken::new(),
        };
        if shared.socket().as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(StartError::PathTooLong(shared.folder));
        }
        Ok(Embedded(Arc::new(shared)))
    }

    /// Starts the server and returns when it has read its data. To be called once.
    ///
    /// # Errors
    ///
    /// The reason why it did not start, one sentence each.
    pub async fn start(&self) -> Result<(), StartError> {
        let folder = &self.0.folder;
        let unusable = |cause| StartError::DataDir { path: folder.clone(), cause };
        let lock = File::create(folder.join("lock")).map_err(unusable)?;
        let lock = self.0.lock.get_or_init(|| lock);
        acquire(lock, folder).await?;
        let free = free_bytes(folder).map_err(unusable)?;
        if free < LEAST_FREE_BYTES {
            return Err(StartError::DiskFull { path: folder.clone(), free });
        }
        if !data::are_there(folder)? {
            tracing::info!(folder = %folder.display(), "there are no data yet: a new store begins");
        }
        // A socket that a killed server left behind would look like one that refuses.
        let _ = fs::remove_file(self.0.socket());

        let supervised = Arc::clone(&self.0);
        // PDEATHSIG fires when the thread that spawned ends, so this one lives as long as the server.
        thread::Builder::new()
            .name("embedded-server".to_owned())
            .spawn(move || {
                supervise(&supervised);
                supervised.ended.cancel();
            })
            .map_err(unusable)?;
        self.0.state().supervised = true;
        self.wait_until_ready().await
    }

    /// True if a server answers on the socket, which may be that of another process.
    pub async fn is_running(&self) -> bool {
        let answered = time::timeout(RUNNING_TIMEOUT, answers_ping(&self.0.socket())).await;
        answered.is_ok_and(|answered| answered.is_ok_and(|is_pong| is_pong))
    }

    /// The URL of its socket. Every byte that means something in a URL is escaped.
    pub fn url(&self) -> String {
        let socket = self.0.socket();
        let mut url = "unix://".to_owned();
        for &byte in socket.as_os_str().as_bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                // Writing into a String cannot fail.
                let _ = write!(url, "%{byte:02X}");
            }
        }
        url
    }

    /// The process id of the server, while one is running.
    pub fn pid(&self) -> Option<i32> {
        self.0.state().server.map(|pid| pid.as_raw_nonzero().get())
    }

    /// Returns when the server has read its data. It takes connections before that.
    async fn wait_until_ready(&self) -> Result<(), StartError> {
        let socket = self.0.socket();
        loop {
            if answers_ping(&socket).await.is_ok_and(|answered| answered) {
                self.0.state().was_ready = true;
                return Ok(());
            }
            if self.0.state().deaths > 0 {
                let mut state = self.0.state();
                state.stopping = true;
                let output: Vec<String> = state.last_lines.drain(..).collect();
                return Err(StartError::Died(output.join(" | ")));
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the server, after its last write is on disk. Its data stay. It may be called at any time, also
    /// while the server is starting.
    pub async fn stop(&self) {
        let supervised = {
            let mut state = self.0.state();
            state.stopping = true;
            state.supervised
        };
        if !supervised {
            return;
        }
        self.signal(Signal::TERM);
        if time::timeout(STOP_TIMEOUT, self.0.ended.cancelled()).await.is_err() {
            tracing::warn!("the embedded server did not end by itself and was killed");
            self.signal(Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0.state().server {
            // It may have ended in this moment, which is what was asked for.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Sends a PING to the socket, and returns true if the answer is PONG. A server that still loads its data
/// answers with an error.
async fn answers_ping(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}

fn find_server() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    SERVERS
        .iter()
        .flat_map(|server| folders.iter().map(move |folder| folder.join(server)))
        .find(|program| program.is_file())
}

async fn acquire(lock: &File, folder: &Path) -> Result<(), StartError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    while flock(lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > deadline {
            return Err(StartError::Locked(folder.to_owned()));
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
