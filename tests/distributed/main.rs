//! The service on servers that are not one plain Redis: behind TLS and users of Redis, behind sentinels, and with
//! replicas that have to have what is acknowledged; and a cluster of several.
//!
//! `LOCKSTEP_TEST_FAILOVERS` is the number of failovers of each kind; 2 by default.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unused_imports)]

#[path = "../service/support/mod.rs"]
mod support;

mod certificates;
mod cluster;

mod failover;
mod group;
mod replicas;
mod sentinel;
mod settings;
mod tls;
