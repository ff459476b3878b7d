//! The store of `migrate` and `show`: the server of `--redis-url`, or an embedded one that is started on
//! `--data-dir`.

use crate::{
    config::StoreAddress,
    store::{Access, Embedded},
};

/// Runs `work` with the URL of the store and what lets it in. An embedded server is stopped afterwards.
///
/// # Errors
///
/// The sentence of `work`, or the one that says why there is no server.
pub(super) async fn with_store(
    store: &StoreAddress,
    work: impl AsyncFnOnce(&str, &Access) -> Result<(), String>,
) -> Result<(), String> {
    let access = store.server.access();
    if let Some(url) = &store.server.redis_url {
        return work(url, &access).await;
    }
    store.server.check_unused()?;
    let folder = &store.data_dir;
    if !folder.is_dir() {
        return Err(format!(
            "there is no data directory {}: give --data-dir or --redis-url",
            folder.display()
        ));
    }
    let embedded = Embedded::on(folder).map_err(|error| error.to_string())?;
    let result = match embedded.start().await {
        Ok(()) => work(&embedded.url(), &access).await,
        Err(error) => Err(error.to_string()),
    };
    embedded.stop().await;
    result
}

/// The URL of the server that a running service has embedded, if one answers on `--data-dir`.
pub(super) async fn running_url(store: &StoreAddress) -> Option<String> {
    if store.server.redis_url.is_some() || !store.data_dir.is_dir() {
        return None;
    }
    let embedded = Embedded::on(&store.data_dir).ok()?;
    embedded.is_running().await.then(|| embedded.url())
}
