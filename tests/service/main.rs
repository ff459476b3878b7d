//! The service as its callers see it: one module a domain, one file an operation, and the promises
//! that hold for all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod catalogue;
mod support;

mod accounts;
mod atomic;
mod batch;
mod bulk;
mod cache;
mod counters;
mod inventory;
mod keys;
mod locks;
mod monitoring;
mod ratelimit;
mod scripts;
mod transactions;

mod access_log;
mod clocks;
mod configuration;
mod connections;
mod conservation;
mod damage;
mod data_directory;
mod descriptors;
mod embedded;
mod exact_ends;
mod failover;
mod format;
mod http;
mod idempotency;
mod ledger_model;
mod logs;
mod mutants;
mod openapi;
mod packed_stock;
mod readiness;
mod redis_commands;
mod rights;
mod runner;
mod show;
mod start;
mod stock_model;
mod store_states;
mod tls;
mod torn_commits;
mod traces;
mod unanswered;
mod validation;
mod wrong_types;
