//! Settings of the store: how it reaches Redis, how long it waits, how much it keeps. `config` fills
//! them from the command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::ValueEnum;

use super::HostPort;

/// The way to Redis, and the bounds on waiting for it.
#[derive(Clone)]
pub struct Settings {
    /// `redis://user:password@host:port,host:port/db`, `rediss://` likewise, or `unix:///path`.
    pub url: String,
    /// How the server is found there, and lets the service in.
    pub access: Access,
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
    /// The number of replicas that have to have a write before it is acknowledged; 0 for none.
    pub wait_replicas: u32,
    /// The longest wait for them, less than `timeout`.
    pub wait_timeout: Duration,
    /// The retention of past calls.
    pub retention: Retention,
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

/// What is at the address of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StoreMode {
    /// Ask, and find out.
    #[default]
    Auto,
    /// One server.
    Single,
    /// The sentinels of a group, which know the address of its primary.
    Sentinel,
    /// Nodes of a cluster, which know all others.
    Cluster,
}

impl StoreMode {
    /// True if the servers may be nodes of a cluster.
    pub fn may_be_cluster(self) -> bool {
        matches!(self, StoreMode::Auto | StoreMode::Cluster)
    }
}

/// How the server is found, and how it lets the service in. The default is a server without a password, or the one of
/// the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// What is at the address of the URL.
    pub mode: StoreMode,
    /// The name under which sentinels know the group; needed where they know several.
    pub sentinel_master: Option<String>,
    /// The user, where the URL has none.
    pub user: Option<String>,
    /// The file that has the password. It is read for each connection.
    pub password_file: Option<PathBuf>,
    /// The file with the certificates of the authorities that are trusted, instead of those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// The file with the certificate that the service shows.
    pub client_cert: Option<PathBuf>,
    /// The file with the key of that certificate.
    pub client_key: Option<PathBuf>,
    /// Addresses that are announced, and those at which they can be reached.
    pub node_map: Vec<NodeMapping>,
}

/// The address at which a server can be reached that is announced with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMapping {
    /// The address that sentinels and nodes of a cluster tell.
    pub announced: HostPort,
    /// The address to connect to.
    pub reachable: HostPort,
}

impl FromStr for NodeMapping {
    type Err = String;

    /// Reads `HOST:PORT=HOST:PORT`.
    fn from_str(text: &str) -> Result<NodeMapping, String> {
        let (announced, reachable) = text
            .split_once('=')
            .ok_or("an entry of the node map is ANNOUNCED-HOST:PORT=REACHABLE-HOST:PORT")?;
        Ok(NodeMapping {
            announced: announced.trim().parse()?,
            reachable: reachable.trim().parse()?,
        })
    }
}
