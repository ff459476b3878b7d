//! The commands of the program: `serve`, `openapi`, `healthcheck`, `migrate`, `show` and `keys`. `main` calls [`run`].

mod descriptors;
mod healthcheck;
mod keys;
mod migrate;
mod openapi;
mod registration;
mod root_key;
mod serve;
mod show;
mod store_address;

use std::{process::ExitCode, sync::mpsc::sync_channel, thread, time::Duration};

pub use show::show_key;

use crate::config::{Cli, CliCommand, KeysCommand};

/// The longest wait for a message to be written, where nobody reads it.
const PRINT_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the command that the command line names. An error is one sentence on standard error and a
/// failing exit code.
pub fn run() -> ExitCode {
    let Cli { command, serve: settings } = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
            // Help is asked for, and then nothing else is done before it is read.
            if error.use_stderr() {
                print_in_time(move || drop(error.print()));
            } else {
                let _ = error.print();
            }
            return code;
        }
    };
    let result = match command {
        None => serve::serve(settings),
        Some(CliCommand::Serve(settings)) => serve::serve(*settings),
        Some(CliCommand::Openapi) => openapi::print(),
        Some(CliCommand::Healthcheck(settings)) => healthcheck::ask(&settings),
        Some(CliCommand::Migrate(store)) => migrate::run(&store),
        Some(CliCommand::Show(settings)) => show::run(&settings),
        Some(CliCommand::Keys { command: KeysCommand::Create }) => keys::create(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            print_in_time(move || eprintln!("lockstep: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints on a thread of its own and waits for that a second at most. Standard output and standard error
/// may be pipes that are full and that nobody reads.
fn print_in_time(print: impl FnOnce() + Send + 'static) {
    let (ended, waiting) = sync_channel(1);
    let printing = thread::Builder::new().name("print".to_owned()).spawn(move || {
        print();
        let _ = ended.send(());
    });
    if printing.is_ok() {
        let _ = waiting.recv_timeout(PRINT_TIMEOUT);
    }
}
