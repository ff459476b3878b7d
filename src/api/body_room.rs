//! The memory for bodies that arrive in several parts.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds the bytes of all bodies that a process has begun to receive and not read yet. All clones share one bound.
///
/// A body that arrives in one part takes nothing of it: its bytes are in the buffer of its connection.
#[derive(Debug, Clone)]
pub struct BodyRoom(Arc<Semaphore>);

/// The share of one body. It is given back when this is dropped.
#[derive(Debug, Default)]
pub(super) struct BodyShare(Option<OwnedSemaphorePermit>);

impl BodyRoom {
    /// Room for so many bytes.
    pub fn of_bytes(bytes: usize) -> BodyRoom {
        BodyRoom(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Adds bytes to a share. `None` where there is no room for them.
    pub(super) fn add(&self, share: &mut BodyShare, bytes: usize) -> Option<()> {
        let bytes = u32::try_from(bytes).ok()?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(bytes).ok()?;
        match &mut share.0 {
            Some(held) => held.merge(more),
            None => share.0 = Some(more),
        }
        Some(())
    }
}
