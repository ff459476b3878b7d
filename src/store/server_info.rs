//! The server's own figures: the reply to INFO, its clock and the time of a round trip; and which scripts it has
//! loaded. `monitoring` asks for both.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::{Failure, Library, Shard, Store, connection::checkout, topology::Node};
use crate::telemetry::DurationHistogram;

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// The time of a round trip of PING.
    pub ping: Duration,
    /// The server's clock in microseconds since 1970, and the difference to it of this machine's clock at that
    /// moment, in milliseconds; positive where this machine is ahead.
    pub clock_us: u64,
    /// See `clock_us`.
    pub clock_difference_ms: i64,
    fields: HashMap<String, String>,
}

impl ServerInfo {
    /// A field of INFO, such as `used_memory`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// A field of INFO that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

/// The runs of one script by this process.
#[derive(Debug, Clone)]
pub struct ScriptRuns {
    /// The operation, such as `accounts/transfer`.
    pub name: &'static str,
    /// From the queue to the decoded reply.
    pub durations: DurationHistogram,
    /// The number of times that the source was sent, because the server did not know the script.
    pub loads: u64,
    /// True if the server knows the script now; `None` where the Redis user may not ask.
    pub loaded: Option<bool>,
}

impl Store {
    /// Asks a server for its figures, in two round trips, within one store timeout each.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn server_info(&self, shard: &Shard) -> Result<ServerInfo, Failure> {
        let mut connection = checkout(&shard.node.pool, self.0.timeout).await?;
        let mut ping = Pipeline::new();
        ping.cmd("PING").ignore_errors();
        let started = Instant::now();
        let unavailable = |cause: String| Failure::Unavailable(cause);
        let sent = connection.send(&ping, self.0.timeout).await;
        sent.map_err(|unanswered| unavailable(unanswered.cause))?;
        let ping = started.elapsed();

        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("TIME");
        pipeline.cmd("INFO");
        pipeline.ignore_errors();
        let sent = connection.send(&pipeline, self.0.timeout).await;
        let replies = sent.map_err(|unanswered| unavailable(unanswered.cause))?;
        let here_ms = jiff::Timestamp::now().as_millisecond();
        let clock_us =
            clock_of(&replies[0]).ok_or_else(|| unavailable("no reply to TIME".to_owned()))?;
        let clock_ms = i64::try_from(clock_us / 1000).unwrap_or(i64::MAX);
        let fields = info_of(&replies[1])?;
        Ok(ServerInfo { ping, clock_us, clock_difference_ms: here_ms - clock_ms, fields })
    }

    /// The runs of every script by this process, and which of them every server has loaded that answers, in the order
    /// of their names.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply.
    pub async fn script_runs(&self) -> Result<Vec<ScriptRuns>, Failure> {
        let mut scripts: Vec<_> = Library::embedded().iter().collect();
        scripts.sort_by_key(|script| script.name);
        let digests: Vec<_> = scripts.iter().map(|script| script.sha1.as_str()).collect();
        let digests = &digests;
        let ask = |node: Arc<Node>| async move { self.loaded_at(&node, digests).await };
        let loaded = self.on_every_node(ask).await?;
        let runs = scripts.into_iter().enumerate().map(|(place, script)| {
            let (durations, loads) = script.runs();
            let loaded = loaded.iter().map(|flags| flags.get(place).copied());
            let loaded = loaded.collect::<Option<Vec<bool>>>();
            let loaded = loaded.map(|flags| !flags.contains(&false));
            ScriptRuns { name: script.name, durations, loads, loaded }
        });
        Ok(runs.collect())
    }
}

impl Store {
    /// Finds out which scripts a server has loaded, by their SHA-1. Returns nothing where the Redis user may not ask.
    async fn loaded_at(&self, node: &Node, digests: &[&str]) -> Result<Vec<bool>, Failure> {
        let mut connection = checkout(&node.pool, self.0.timeout).await?;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SCRIPT").arg("EXISTS").arg(digests).ignore_errors();
        let sent = connection.send(&pipeline, self.0.timeout).await;
        let replies = sent.map_err(|unanswered| Failure::Unavailable(unanswered.cause))?;
        Ok(match &replies[0] {
            Value::Array(flags) => flags.iter().map(|flag| *flag == Value::Int(1)).collect(),
            _ => Vec::new(),
        })
    }
}

/// Microseconds since 1970 by a reply to TIME.
fn clock_of(reply: &Value) -> Option<u64> {
    let (seconds, micros): (u64, u64) = redis::from_redis_value(reply.clone()).ok()?;
    Some(seconds * 1_000_000 + micros)
}

/// The fields of a reply to INFO.
fn info_of(reply: &Value) -> Result<HashMap<String, String>, Failure> {
    let text: String = match reply {
        Value::ServerError(error) => return Err(Failure::from_server_error(error).without_effect()),
        reply => redis::from_redis_value(reply.clone())
            .map_err(|error| Failure::Unavailable(error.to_string()))?,
    };
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}
