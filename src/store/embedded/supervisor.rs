//! The supervisor: a thread that starts the server, reads its output, and starts it again when it dies.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal},
};

use super::{LEAST_FREE_BYTES, Shared, config::configuration, data, free_bytes};

fn spawn(shared: &Shared) -> io::Result<Child> {
    let (are_there, was_ready) = (data::are_there(&shared.folder), shared.state().was_ready);
    if !are_there.map_err(io::Error::other)? && was_ready {
        return Err(io::Error::other(
            "the data are gone, and an empty store would take their place",
        ));
    }
    let mut command = Command::new(&shared.program);
    command
        .arg("-")
        .current_dir(&shared.folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C at a terminal reaches the whole group; the server must outlive the drain.
        .process_group(0);
    let lock = shared.lock.get().ok_or(io::ErrorKind::NotFound)?.try_clone()?;
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
pub(super) fn supervise(shared: &Shared) {
    let mut pause = Duration::from_millis(100);
    loop {
        let started = Instant::now();
        match run_server(shared) {
            Ok(()) => {}
            Err(error) => shared.state().last_lines.push_back(error.to_string()),
        }
        {
            let mut state = shared.state();
            state.server = None;
            state.deaths += 1;
            if state.stopping {
                return;
            }
            tracing::error!(output = ?state.last_lines, "the embedded server ended; starting it again");
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

/// Starts the server and returns when it has ended.
fn run_server(shared: &Shared) -> io::Result<()> {
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
        if state.last_lines.len() == 3 {
            state.last_lines.pop_front();
        }
        state.last_lines.push_back(line);
    }
    child.wait()?;
    Ok(())
}

/// Returns when the disk has room again. A server that is started on a full disk would die at its first
/// write, again and again.
fn wait_for_room(shared: &Shared) {
    let mut reported = false;
    while !shared.state().stopping {
        match free_bytes(&shared.folder) {
            Ok(free) if free < LEAST_FREE_BYTES => {
                if !reported {
                    let folder = shared.folder.display();
                    tracing::error!(%folder, free, "the disk is full; waiting for room");
                    reported = true;
                }
            }
            _ => return,
        }
        thread::sleep(Duration::from_secs(1));
    }
}
