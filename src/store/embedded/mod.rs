//! The server that Lockstep brings along where it is given none: a child process on a unix socket,
//! restarted when it dies and stopped last.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File},
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::AsFd,
        unix::{fs::DirBuilderExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock, statvfs},
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::oneshot,
    time,
};

/// Servers that will do, the preferred one first.
const SERVERS: [&str; 2] = ["valkey-server", "redis-server"];

/// With less than this left, an append-only file is about to fail, and `appendfsync always` ends
/// the server when it does.
const LEAST_FREE_BYTES: u64 = 16 * 1024 * 1024;

/// What the kernel takes as the path of a unix socket.
const LONGEST_SOCKET_PATH: usize = 107;

/// How long a server of a service that has just died may need to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long the server may take to end by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no embedded server.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither server is installed.
    #[error(
        "found neither valkey-server nor redis-server in PATH: install one (on Debian: apt-get \
         install redis-server), or give --redis-url"
    )]
    NoServer,
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {cause}", path.display())]
    DataDir {
        /// As given.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another service has it.
    #[error(
        "the data directory {} is in use by another lockstep: stop that one, or give another \
         --data-dir",
        .0.display()
    )]
    Locked(PathBuf),
    /// A socket in it could not be opened.
    #[error(
        "the data directory's path {} is too long for a unix socket in it ({LONGEST_SOCKET_PATH} \
         bytes): give a shorter --data-dir",
        .0.display()
    )]
    PathTooLong(PathBuf),
    /// There is no room for data.
    #[error("the disk of the data directory {} is full: {free} bytes are left", path.display())]
    DiskFull {
        /// The data directory.
        path: PathBuf,
        /// What is left.
        free: u64,
    },
    /// The server ended before it served anybody.
    #[error("the embedded server did not start; it said: {0}")]
    Died(String),
}

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
    last_words: VecDeque<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedded {
    /// Starts a server on a data directory and waits until it serves.
    ///
    /// # Errors
    ///
    /// One sentence for each thing that can be in the way.
    pub async fn start(data_dir: &Path) -> Result<Embedded, StartError> {
        let unusable = |cause| StartError::DataDir { path: data_dir.to_owned(), cause };
        let program = find_server().ok_or(StartError::NoServer)?;
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        let folder = fs::canonicalize(data_dir).map_err(unusable)?;
        let socket = folder.join("redis.sock");
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
        embedded.serving().await?;
        Ok(embedded)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The running server's process, if there is one at the moment.
    pub fn pid(&self) -> Option<i32> {
        self.shared.state().server.map(|pid| pid.as_raw_nonzero().get())
    }

    /// Waits until it has read its data; it takes connections before that.
    async fn serving(&self) -> Result<(), StartError> {
        loop {
            if pong(&self.socket).await.is_ok_and(|pong| pong) {
                return Ok(());
            }
            if self.shared.state().deaths > 0 {
                let mut state = self.shared.state();
                state.stopping = true;
                let said: Vec<String> = state.last_words.drain(..).collect();
                return Err(StartError::Died(said.join(" | ")));
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the server after its last write is on disk. Its data stay.
    pub async fn stop(self) {
        self.shared.state().stopping = true;
        self.signal(Signal::TERM);
        if time::timeout(STOP_PATIENCE, self.ended).await.is_err() {
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

async fn pong(socket: &Path) -> io::Result<bool> {
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
    let deadline = Instant::now() + LOCK_PATIENCE;
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

/// What the server is told, on its standard input.
fn configuration(folder: &Path) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.display().to_string().replace('"', "\\\""));
    let socket = quoted(&folder.join("redis.sock"));
    let dir = quoted(folder);
    format!(
        "port 0\nunixsocket {socket}\nunixsocketperm 600\ndir {dir}\ndaemonize no\n\
         appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n"
    )
}

fn spawn(shared: &Shared) -> io::Result<Child> {
    let mut command = Command::new(&shared.program);
    command
        .arg("-")
        .current_dir(&shared.folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C at a terminal reaches the whole group; the server must outlive the drain.
        .process_group(0);
    let lock = shared.lock.try_clone()?;
    let parent = getpid();
    let prepare = move || {
        fcntl_setfd(lock.as_fd(), FdFlags::empty())?;
        set_parent_process_death_signal(Some(Signal::TERM))?;
        if getppid() != Some(parent) {
            return Err(io::Error::other("the service has ended already"));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    #[expect(unsafe_code, reason = "the only way to ask for a signal on the parent's death")]
    unsafe {
        command.pre_exec(prepare);
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(configuration(&shared.folder).as_bytes())?;
    }
    Ok(child)
}

/// Keeps a server running until the service stops.
fn supervise(shared: &Shared) {
    let mut pause = Duration::from_millis(100);
    loop {
        let started = Instant::now();
        match run_once(shared) {
            Ok(()) => {}
            Err(error) => shared.state().last_words.push_back(error.to_string()),
        }
        {
            let mut state = shared.state();
            state.server = None;
            state.deaths += 1;
            if state.stopping {
                return;
            }
            tracing::error!(said = ?state.last_words, "the embedded server ended; starting it again");
        }
        if started.elapsed() > Duration::from_secs(10) {
            pause = Duration::from_millis(100);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(5));
        wait_for_room(shared);
        if shared.state().stopping {
            return;
        }
    }
}

fn run_once(shared: &Shared) -> io::Result<()> {
    let mut child = spawn(shared)?;
    {
        let mut state = shared.state();
        state.server = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if state.stopping {
            // The stop came before there was a process to signal.
            child.kill()?;
        }
    }
    let output = child.stdout.take().map(BufReader::new);
    for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        tracing::debug!(target: "lockstep::embedded", "{line}");
        let mut state = shared.state();
        if state.last_words.len() == 3 {
            state.last_words.pop_front();
        }
        state.last_words.push_back(line);
    }
    child.wait()?;
    Ok(())
}

/// A full disk is no crash: a server started on it would die at its first write, again and again.
fn wait_for_room(shared: &Shared) {
    let mut told = false;
    while !shared.state().stopping {
        match free_bytes(&shared.folder) {
            Ok(free) if free < LEAST_FREE_BYTES => {
                if !told {
                    let folder = shared.folder.display();
                    tracing::error!(%folder, free, "the disk is full; waiting for room");
                    told = true;
                }
            }
            _ => return,
        }
        thread::sleep(Duration::from_secs(1));
    }
}
