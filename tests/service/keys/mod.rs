//! Callers' keys: each call in a file of its own, and what holds for all calls that are made with keys.

mod access;
mod actors;
mod create;
mod get;
mod hosts;
mod list;
mod load;
mod own;
mod poll;
mod processes;
mod revoke;
mod rls;
mod root_key;
mod rotate;
mod touch;
mod update;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Process, Service};

/// Makes a key that may do everything, and returns the answer.
async fn made(service: &Service) -> Value {
    let body = json!({ "name": "everything", "scopes": ["*"], "spaces": ["*"] });
    service.post("/keys", body).await.assert(201)
}

/// A member of an answer that is text.
fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer:#}"))
}

/// The process once it knows all keys.
async fn ready(process: Process) -> Process {
    let loaded = async {
        while process.get("main", "/readyz").await.unwrap().status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), loaded).await.expect("a ready process");
    process
}
