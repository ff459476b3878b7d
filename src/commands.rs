//! Every command by its name, for the calls that take any of several.

use std::{collections::HashMap, sync::LazyLock};

use crate::{
    accounts,
    api::{CommandEntry, Problem},
    counters, inventory, locks, ratelimit,
    types::Invalid,
};

/// The command of that name.
///
/// # Errors
///
/// Where there is none; the pointer is that of a field `operation`.
pub fn command(name: &str) -> Result<&'static CommandEntry, Problem> {
    static BY_NAME: LazyLock<HashMap<&str, &CommandEntry>> =
        LazyLock::new(|| all().map(|command| (command.name, command)).collect());
    BY_NAME.get(name).copied().ok_or_else(|| {
        let detail = format!("There is no command {name:?}; the document at /docs names them.");
        Problem::invalid(&Invalid::new("validation_failed", detail), "/operation")
    })
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static CommandEntry> {
    let domains = [
        accounts::COMMANDS,
        counters::COMMANDS,
        inventory::COMMANDS,
        locks::COMMANDS,
        ratelimit::COMMANDS,
    ];
    domains.into_iter().flatten()
}
