//! Tests of several servers: a cluster of masters and replicas. `make test-distributed` runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, unused_imports)]
#[path = "../service/support/mod.rs"]
mod support;

mod cluster;
