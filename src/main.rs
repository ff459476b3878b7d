//! The program `lockstep`: see [`lockstep::cli`].

use std::process::ExitCode;

/// A request is allocated on one thread and often freed on another. The system's allocator takes a
/// lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, and keeps some 18 MiB more with them; no call is faster for it. A child, the
    // embedded server, inherits this and would do the same by itself. Where it cannot be set, all works as well.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    lockstep::cli::run()
}
