//! Starts the program as a newcomer does, for the tests that run what the documentation shows.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// `lockstep` on a free port, with an empty Redis or Valkey of its own.
///
/// The program starts whichever of the two servers is in `PATH`. Dropping this ends both processes and
/// removes their data.
pub struct Service {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// An empty folder for files of the test, beside the data.
    pub folder: PathBuf,
    child: Child,
}

impl Service {
    /// Returns when the service accepts calls. `name` tells the folders of tests apart.
    pub fn start(name: &str) -> Service {
        Service::start_with(name, &[])
    }

    /// The same with further settings. With `--redis-url` it has no server of its own.
    pub fn start_with(name: &str, settings: &[&str]) -> Service {
        let folder = std::env::temp_dir().join(format!("ls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(["--listen", "127.0.0.1:0", "--log", "warn"]).args(settings);
        if !settings.contains(&"--redis-url") {
            command.arg("--data-dir").arg(folder.join("data"));
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        Service { url, folder, child }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // On SIGTERM the service stops its server before it ends, so nothing writes to the folder any more.
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
