//! Large values: they are read by a plain command on a connection of their own instead of by a script, so that they are not
//! copied through Lua, and no batch of small calls waits behind them. `cache` reads its values here.

use std::fmt::Display;

use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout_at};

use super::{Failure, Store, connection::checkout};
use crate::types::Id;

/// A value of more bytes is large: it is stored beside its record, and calls with so many bytes are sent by a worker
/// of their own.
pub const LARGE_BYTES: usize = 16 * 1024;

/// The most large values that are read at a time, each of at most a megabyte.
pub(super) const MAX_LARGE_READS: usize = 8;

/// The bytes of a stamp.
const STAMP_BYTES: usize = 16;

/// The place of a large value: a field of the hash `lockstep:{space}:<kind>:<id>`, which begins with a stamp.
pub struct LargeValue<'a, I> {
    /// The space of the hash.
    pub space: &'a Id,
    /// The kind of the hash.
    pub kind: &'static str,
    /// The id of the hash.
    pub id: I,
    /// The name of the field.
    pub field: u64,
    /// The stamp that the record of the value has.
    pub stamp: &'a [u8],
}

impl Store {
    /// Reads a large value; `None` where another one has taken its place, or none is left.
    ///
    /// # Errors
    ///
    /// The failure that took the place of a reply, after a store timeout at the latest.
    pub async fn read_large<I: Display>(
        &self,
        value: LargeValue<'_, I>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let LargeValue { space, kind, id, field, stamp } = value;
        let deadline = Instant::now() + self.0.timeout;
        let Ok(Ok(_place)) = timeout_at(deadline, self.0.large_reads.acquire()).await else {
            return Err(Failure::Overloaded);
        };
        let left = || deadline.saturating_duration_since(Instant::now());
        let node = self.0.topology.node_for(space.as_str());
        let mut connection = checkout(&node.pool, left()).await?;
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.cmd("HGET").arg(format!("lockstep:{{{space}}}:{kind}:{id}")).arg(field);
        pipeline.ignore_errors();
        let replies = match connection.send(&pipeline, left()).await {
            Ok(replies) => replies,
            Err(unanswered) => {
                self.0.topology.leave(&node, connection.generation());
                return Err(Failure::Unavailable(unanswered.cause));
            }
        };
        match replies.into_iter().next() {
            Some(Value::BulkString(mut bytes)) if bytes.get(..STAMP_BYTES) == Some(stamp) => {
                bytes.drain(..STAMP_BYTES);
                Ok(Some(bytes))
            }
            Some(Value::BulkString(_) | Value::Nil) => Ok(None),
            Some(Value::ServerError(error)) => {
                Err(Failure::from_server_error(&error).without_effect())
            }
            other => Err(Failure::Unavailable(format!("unexpected reply {other:?}"))),
        }
    }
}
