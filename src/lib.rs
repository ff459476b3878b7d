//! Atomic business operations over HTTP, on Redis or Valkey.
//!
//! The modules are declared floor by floor, lowest first. A module imports only from floors
//! declared before its own, never from a sibling on its own floor. `tests/contracts.rs` holds the
//! code to it.

// Floor: the words everyone speaks, and what the service tells about itself.
pub mod telemetry;
pub mod types;

// Floor: the only code that knows Redis.
pub mod store;

// Floor: what every endpoint shares.
pub mod api;

// Floor: the business, one folder a domain, one file an operation.
pub mod accounts;
pub mod counters;
pub mod inventory;
pub mod locks;
pub mod ratelimit;

// Floor: what callers keep for themselves.
pub mod data;

// Floor: every command by its name.
pub mod commands;

// Floor: several at once.
pub mod atomic;
pub mod batch;
pub mod bulk;
pub mod transactions;

// Floor: looking after the service itself.
pub mod monitoring;
pub mod sweeper;

// Floor: one router and one document out of all of it; how connections come and go.
pub mod app;
pub mod server;

// Floor: the settings.
pub mod config;
