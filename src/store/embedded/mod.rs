//! The embedded server: a child process on a unix socket that Lockstep starts where it is given no URL,
//! restarts when it dies, and stops last. `cli` starts and stops it.

mod config;
mod start_error;
mod supervisor;

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    sync::oneshot,
    time,
};

pub use start_error::StartError;

use supervisor::supervise;

/// Server programs that are looked for in PATH, the preferred one first.
const SERVERS: [&str; 2] = ["valkey-server", "redis-server"];

/// The least free disk space for a start. With less, a write to the append-only file is about to fail, and
/// with `appendfsync always` that ends the server.
const LEAST_FREE_BYTES: u64 = 16 * 1024 * 1024;

/// The name of the server's socket in the data directory.
const SOCKET: &str = "redis.sock";

/// The longest wait for the answer of a server that another process may be running.
const RUNNING_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest path of a unix socket that the kernel takes, in bytes.
const LONGEST_SOCKET_PATH: usize = 107;

/// The longest wait for the lock of the data directory: the server of a service that has just died may
/// need that long to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that the server may take to end by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server and its supervisor.
pub struct Embedded {
    socket: PathBuf,
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

struct Shared {
    program: PathBuf,
    folder: PathBuf,
    /// Redis does not lock its directory, and two servers on one corrupt it. The server inherits
    /// the descriptor, so the lock lasts as long as any of the two processes.
    lock: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopping: bool,
    server: Option<Pid>,
    deaths: u32,
    last_lines: VecDeque<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedded {
    /// Starts a server on a data directory and returns when it is ready.
    ///
    /// # Errors
    ///
    /// The reason why it did not start, one sentence each.
    pub async fn start(data_dir: &Path) -> Result<Embedded, StartError> {
        let unusable = |cause| StartError::DataDir { path: data_dir.to_owned(), cause };
        let program = find_server().ok_or(StartError::NoServer)?;
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        let folder = fs::canonicalize(data_dir).map_err(unusable)?;
        let socket = folder.join(SOCKET);
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(StartError::PathTooLong(folder));
        }
        let lock = File::create(folder.join("lock")).map_err(unusable)?;
        acquire(&lock, &folder).await?;
        let free = free_bytes(&folder).map_err(unusable)?;
        if free < LEAST_FREE_BYTES {
            return Err(StartError::DiskFull { path: folder, free });
        }
        // A socket that a killed server left behind would look like one that refuses.
        let _ = fs::remove_file(&socket);

        let shared = Arc::new(Shared { program, folder, lock, state: Mutex::default() });
        let (ending, ended) = oneshot::channel();
        let supervised = Arc::clone(&shared);
        // PDEATHSIG fires when the thread that spawned ends, so this one lives as long as the server.
        thread::Builder::new()
            .name("embedded-server".to_owned())
            .spawn(move || {
                supervise(&supervised);
                let _ = ending.send(());
            })
            .map_err(unusable)?;

        let embedded = Embedded { socket, shared, ended };
        embedded.wait_until_ready().await?;
        Ok(embedded)
    }

    /// The URL of the server that another process runs on a data directory, if one answers there.
    pub async fn running_url(data_dir: &Path) -> Option<String> {
        let socket = fs::canonicalize(data_dir).ok()?.join(SOCKET);
        let answered = time::timeout(RUNNING_TIMEOUT, answers_ping(&socket)).await.ok()?;
        answered.is_ok_and(|answered| answered).then(|| url_of(&socket))
    }

    /// The URL of its socket.
    pub fn url(&self) -> String {
        url_of(&self.socket)
    }

    /// The process id of the server, while one is running.
    pub fn pid(&self) -> Option<i32> {
        self.shared.state().server.map(|pid| pid.as_raw_nonzero().get())
    }

    /// Returns when the server has read its data. It takes connections before that.
    async fn wait_until_ready(&self) -> Result<(), StartError> {
        loop {
            if answers_ping(&self.socket).await.is_ok_and(|answered| answered) {
                return Ok(());
            }
            if self.shared.state().deaths > 0 {
                let mut state = self.shared.state();
                state.stopping = true;
                let output: Vec<String> = state.last_lines.drain(..).collect();
                return Err(StartError::Died(output.join(" | ")));
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the server, after its last write is on disk. Its data stay.
    pub async fn stop(self) {
        self.shared.state().stopping = true;
        self.signal(Signal::TERM);
        if time::timeout(STOP_TIMEOUT, self.ended).await.is_err() {
            tracing::warn!("the embedded server did not end by itself and was killed");
            if let Some(pid) = self.shared.state().server {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.shared.state().server {
            // It may have ended in this moment, which is what was asked for.
            let _ = kill_process(pid, signal);
        }
    }
}

fn url_of(socket: &Path) -> String {
    format!("unix://{}", socket.display())
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
