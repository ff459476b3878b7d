//! `lockstep migrate`: brings the data to the format of this version.

use std::time::{Duration, Instant};

use super::store_address::with_store;
use crate::{
    config::StoreAddress,
    store::{Access, AdminConnection, Migrated, MigrationStep},
};

/// The longest wait for one piece, which takes milliseconds unless the server is busy with other things.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time between two lines that tell how far a step is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);

/// Runs every step that the data have not been through, and prints what it did.
#[tokio::main]
pub(super) async fn run(store: &StoreAddress) -> Result<(), String> {
    with_store(store, async |url, access| migrate(url, access).await).await
}

async fn migrate(url: &str, access: &Access) -> Result<(), String> {
    let connecting = AdminConnection::connect(url, access, TIMEOUT).await;
    let mut connection = connecting.map_err(|failure| failure.to_string())?;
    connection.check_server().await.map_err(|refusal| refusal.to_string())?;
    let mut told = Instant::now();
    let progress = |step: &MigrationStep, keys| {
        if told.elapsed() >= PROGRESS_PERIOD {
            println!("{}: {keys} keys so far", step.name);
            told = Instant::now();
        }
    };
    let migrated = connection.migrate(&MigrationStep::embedded(), progress).await;
    match migrated.map_err(|error| error.to_string())? {
        Migrated::Empty => println!("there are no data to migrate"),
        Migrated::Unchanged(format) => println!("the data have format {format}, as they should"),
        Migrated::Changed { from, to } => {
            println!("the data have been migrated from format {from} to format {to}");
        }
    }
    Ok(())
}
