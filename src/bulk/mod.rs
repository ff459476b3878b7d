//! A stream of commands in one request: one command a line, each on its own, answered in order.
//!
//! # Tasks
//!
//! A stream has two tasks, which a bounded channel connects. The *reader* reads lines from the body
//! with a `lines::LineReader`, prepares each line's command, and submits it to Redis. The *writer*
//! waits for the reply of each submitted line and writes its result.
//!
//! # Order
//!
//! The reader prepares several lines at a time, but takes them in the order of the lines and submits
//! them to one [`OrderedQueue`](crate::store::OrderedQueue), which runs operations in the order of their
//! submission, many in one script. The channel has the same order, and so the writer answers in it.
//!
//! # Bounds
//!
//! A stream of any length takes a bounded amount of memory:
//!
//! - A line has 64 KiB at most. The rest of a longer one is skipped.
//! - 128 lines are prepared at a time, and 384 prepared lines wait for their result to be written. If
//!   there are as many, the reader does not read on, and the connection slows the caller down.
//! - The writer sends a part of 16 KiB and waits until the connection has taken it. A caller that does
//!   not read for the body timeout is cut off, and so is one that does not send for so long.
//!
//! `app` serves the route. A stream counts as a request in flight until its last result is sent, so
//! that a shutdown waits for it; during a shutdown no further line is read.

mod lines;
mod run;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{api::ShutdownGate, store::Store};

pub use run::{BulkLine, BulkResult};

/// The endpoints of this module. `gate` says when the service shuts down.
pub fn router(gate: ShutdownGate) -> OpenApiRouter<Store> {
    OpenApiRouter::new().routes(routes!(run::run)).layer(axum::Extension(gate))
}
