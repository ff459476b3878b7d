//! The offset that scripts add to Redis' clock. Tests move it; the service never does.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Milliseconds that scripts add to Redis' own clock: 0, except where a test wants an expiry without
/// waiting for it. Clones share the offset.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// Adds `ms` milliseconds to the offset.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// The offset in milliseconds.
    pub fn ahead_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
