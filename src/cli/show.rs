//! `lockstep show`: what is stored under a key, as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::Value;

use super::store_address::{running_url, with_store};
use crate::{
    config::{Show, count},
    domains, monitoring,
    store::{Access, AdminConnection, ShowError},
};

/// The longest wait for the connection, and for the reply.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Prints a key. The server that a running service has embedded is used where there is one, because nobody
/// else can start it.
#[tokio::main]
pub(super) async fn run(settings: &Show) -> Result<(), String> {
    let Show { key, limit, store } = settings;
    let print = async |url: &str, access: &Access| print(url, access, key, count(*limit)).await;
    match running_url(store).await {
        Some(url) => print(&url, &Access::default()).await,
        None => with_store(store, print).await,
    }
}

async fn print(url: &str, access: &Access, key: &str, limit: usize) -> Result<(), String> {
    let connecting = AdminConnection::connect(url, access, TIMEOUT).await;
    let mut connection = connecting.map_err(|failure| failure.to_string())?;
    let shown = show_key(&mut connection, key, limit).await.map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{shown:#}").map_err(|error| error.to_string())
}

/// Returns what is stored under a key of any domain, as [`AdminConnection::show`] does.
///
/// # Errors
///
/// The sentence that says why the key cannot be shown.
pub async fn show_key(
    connection: &mut AdminConnection,
    key: &str,
    limit: usize,
) -> Result<Value, ShowError> {
    connection.show(key, domains::key_kinds().chain(monitoring::KEY_KINDS), limit).await
}
