//! The program `lockstep`: see [`lockstep::cli`].

use std::process::ExitCode;

/// A request is allocated on one thread and often freed on another. The system's allocator takes a
/// lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lockstep::cli::run()
}
