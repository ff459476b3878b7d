//! webdis: Redis commands by HTTP, as the other side of comparisons.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use super::{Process, free_port, start_server};

/// Starts webdis in front of a Redis. Its settings are in this folder.
pub async fn start_webdis(folder: &Path, redis_url: &str) -> Process {
    let (port, redis_port) = (free_port(), redis_url.rsplit(':').next().unwrap());
    let settings = json!({
        "redis_host": "127.0.0.1", "redis_port": redis_port.parse::<u16>().unwrap(),
        "http_host": "127.0.0.1", "http_port": port, "threads": 4, "pool_size": 20,
        "daemonize": false, "websockets": false, "verbosity": 0,
        "logfile": folder.join("webdis.log"),
    });
    let file = folder.join("webdis.json");
    fs::write(&file, settings.to_string()).unwrap();
    start_server(Command::new("webdis").arg(file), port).await
}
