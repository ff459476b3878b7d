//! The commands of the program: `serve`, `openapi`, `healthcheck` and `migrate`. `main` calls [`run`].

mod descriptors;
mod healthcheck;
mod migrate;
mod openapi;
mod registration;
mod serve;

use std::process::ExitCode;

use clap::Parser;

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
        Some(CliCommand::Migrate(settings)) => migrate::run(&settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("lockstep: {sentence}");
            ExitCode::FAILURE
        }
    }
}
