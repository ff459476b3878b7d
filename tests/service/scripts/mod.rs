//! Callers' own scripts: one file an operation, and what holds for all of them.

mod activate;
mod commands;
mod compile;
mod delete;
mod find;
mod fuzz;
mod get;
mod get_version;
mod list;
mod profile;
mod put;
mod run;
mod timeouts;
mod trace;
mod validate;

use serde_json::{Value, json};

use crate::support::{Answer, Call, Service};

impl Service {
    /// Registers a script that takes nothing.
    pub fn put_script(&self, name: &str, source: &str) -> Call {
        self.put_script_of(name, source, json!({}))
    }

    /// Registers a script with further fields.
    pub fn put_script_of(&self, name: &str, source: &str, mut more: Value) -> Call {
        more["source"] = json!(source);
        self.put(&format!("/scripts/{name}"), more)
    }

    /// Runs a script on keys and arguments.
    pub fn run_script(&self, name: &str, keys: &[&str], args: &[&str]) -> Call {
        let body = json!({ "keys": keys, "args": args });
        self.post(&format!("/scripts/{name}/run"), body)
    }

    /// Registers a script under the name `s` that takes these numbers of keys and arguments, and runs it.
    pub async fn eval(&self, source: &str, keys: &[&str], args: &[&str]) -> Answer {
        let put = self.put_script_of("s", source, json!({ "keys": keys, "args": args })).await;
        assert!(put.status.is_success(), "{source}: {:#}", put.body);
        self.run_script("s", keys, args).await
    }
}
