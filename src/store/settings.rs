//! Settings of the store: how it reaches Redis, how long it waits, how much it keeps. `config` fills
//! them from the command line.

use std::time::Duration;

use clap::ValueEnum;

/// The way to Redis, and the bounds on waiting for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `redis://host:port/db` or `unix:///path`; of a cluster several hosts, separated by commas.
    pub url: String,
    /// The kind of what is at the URL.
    pub mode: StoreMode,
    /// Batch workers, each with a queue and one shared connection.
    pub batch_workers: usize,
    /// Connections for transactions by WATCH; each transaction has one to itself.
    pub transactions: usize,
    /// Calls that may wait over all queues; the next one is refused as `overloaded`.
    pub queue: usize,
    /// Bytes of calls that may wait or be on their way in all; the call that exceeds them is refused as
    /// `overloaded`. At most 4 GiB count.
    pub queue_bytes: usize,
    /// The longest a call waits to be sent, and then again for its reply.
    pub timeout: Duration,
    /// The retention of past calls.
    pub retention: Retention,
}

/// The kind of store behind `--redis-url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StoreMode {
    /// Whatever the server says it is
    #[default]
    Auto,
    /// One server, or an address behind which another one takes its place
    Single,
    /// A cluster
    Cluster,
}

impl StoreMode {
    /// True if the servers may be nodes of a cluster.
    pub fn may_be_cluster(self) -> bool {
        self != StoreMode::Single
    }
}

/// The amount and the life of what is kept of past calls. Every script is given these.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// The life of an idempotency record, in milliseconds.
    pub idempotency_ttl_ms: u64,
    /// The time in which a transaction can be found by its id and reversed, in milliseconds.
    pub transaction_ttl_ms: u64,
    /// The least number of newest entries that each log keeps.
    pub history: u64,
}
