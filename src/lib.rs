//! Lockstep: atomic business operations over HTTP, on Redis or Valkey.
//!
//! The modules are declared floor by floor, lowest first. A module imports only from floors below
//! its own, never from a sibling on its own floor; `tests/contracts.rs` checks it.
//!
//! A call such as `POST /accounts/transfer` enters through [`server`] and [`api::middleware`],
//! reaches its handler in [`accounts`], which hands an operation to [`store`]; that runs the script
//! of the same name under `migrations-lua/` in Redis.

// Floor: values and their limits; logs and metrics; files of certificates.
pub mod pem_file;
pub mod telemetry;
pub mod types;

// Floor: callers, and what they may do.
pub mod auth;

// Floor: the only code that speaks to Redis.
pub mod store;

// Floor: what every endpoint shares.
pub mod api;

// Floor: the domains, one folder each, one file an operation.
pub mod accounts;
pub mod cache;
pub mod counters;
pub mod inventory;
pub mod keys;
pub mod locks;
pub mod ratelimit;
pub mod scripts;

// Floor: commands over callers' own data keys.
pub mod data;

// Floor: the table of domains.
pub mod domains;

// Floor: calls that combine commands.
pub mod atomic;
pub mod batch;
pub mod bulk;
pub mod transactions;

// Floor: the service itself: health, metrics, problem codes, ending what has expired, files of web pages.
pub mod monitoring;
pub mod problems;
pub mod static_file;
pub mod sweeper;

// Floor: the OpenAPI document, the pages that show it, and the console.
pub mod console;
pub mod docs;
pub mod openapi;

// Floor: the router of all endpoints, and the connections of callers.
pub mod app;
pub mod server;

// Floor: the rate limit service of Envoy.
pub mod rls;

// Floor: the settings.
pub mod config;

// Floor: the commands of the program.
pub mod cli;
