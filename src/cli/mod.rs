//! The commands of the program: `serve`, `openapi`, `healthcheck`, `migrate` and `show`. `main` calls [`run`].

mod healthcheck;
mod migrate;
mod openapi;
mod registration;
mod serve;
mod show;
mod store_address;

use std::process::ExitCode;

use clap::Parser;

pub use show::show_key;

use crate::config::{Cli, CliCommand};

/// Runs the command that the command line names. An error is one sentence on standard error and a
/// failing exit code.
pub fn run() -> ExitCode {
    let Cli { command, serve: settings } = Cli::parse();
    let result = match command {
        None => serve::serve(settings),
        Some(CliCommand::Serve(settings)) => serve::serve(*settings),
        Some(CliCommand::Openapi) => openapi::print(),
        Some(CliCommand::Healthcheck(settings)) => healthcheck::ask(&settings),
        Some(CliCommand::Migrate(store)) => migrate::run(&store),
        Some(CliCommand::Show(settings)) => show::run(&settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("lockstep: {sentence}");
            ExitCode::FAILURE
        }
    }
}
