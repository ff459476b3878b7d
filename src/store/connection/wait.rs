//! Waiting for replicas: WAIT behind the writes of a connection, and the replicas that there are to wait for. The
//! batcher, `transaction` and `user_script` send with it.
//!
//! WAIT counts the replicas that have acknowledged the last write of its own connection, so it is sent right behind the
//! writes, as a request of its own: their replies are known even if its own is lost.

use std::time::Duration;

use futures_util::future::{Either, select};
use redis::{Pipeline, Value};

use super::{Connection, Unanswered, ask_role, info_text};
use crate::store::Failure;

/// A replica that was not heard of for more seconds than this is not waited for.
const LONGEST_LAG_S: u32 = 10;

/// A wait of writes for replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Wait {
    /// The number of replicas that are to have them; above 0.
    pub replicas: u32,
    /// The longest that they wait for it.
    pub timeout: Duration,
    /// True if a setting asks for it. Otherwise a server that knows no WAIT is not waited for.
    pub is_demanded: bool,
}

/// The knowledge of replicas that have what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Durability {
    /// Nobody asked.
    NotAsked,
    /// At least so many replicas have all of it.
    Reached(u32),
    /// Fewer replicas have it than there should be; `None` where the answer did not come.
    Missed { reached: Option<u32>, wanted: u32 },
}

impl Durability {
    fn of(reply: Option<&Value>, wait: Wait) -> Durability {
        let wanted = wait.replicas;
        match reply {
            Some(Value::Int(count)) => {
                let reached = u32::try_from(*count).unwrap_or(0);
                match reached >= wanted {
                    true => Durability::Reached(reached),
                    false => Durability::Missed { reached: Some(reached), wanted },
                }
            }
            Some(_) if !wait.is_demanded => Durability::NotAsked,
            _ => Durability::Missed { reached: None, wanted },
        }
    }

    /// True if the number of replicas was asked for and did not come, so that it may be asked for again.
    pub fn is_lost(&self) -> bool {
        matches!(self, Durability::Missed { reached: None, .. })
    }

    /// The number of replicas that have what was written, where it was asked for.
    ///
    /// # Errors
    ///
    /// The failure of a call whose write is on too few replicas. `retry_safe` is that of the call.
    pub fn confirm(&self, retry_safe: bool) -> Result<Option<u32>, Failure> {
        match *self {
            Durability::NotAsked => Ok(None),
            Durability::Reached(count) => Ok(Some(count)),
            Durability::Missed { reached, wanted } => {
                Err(Failure::NotDurable { reached, wanted, retry_safe })
            }
        }
    }
}

impl Connection {
    /// Sends a pipeline as [`Connection::send`] does, and WAIT right behind it. Both are answered within
    /// `time_limit`.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] when not every reply to the pipeline came.
    pub async fn send_and_wait(
        &mut self,
        pipeline: &Pipeline,
        time_limit: Duration,
        wait: Option<Wait>,
    ) -> Result<(Vec<Value>, Durability), Unanswered> {
        let Some(wait) = wait else {
            return Ok((self.send(pipeline, time_limit).await?, Durability::NotAsked));
        };
        let mut behind = self.clone();
        let mut waiting = Pipeline::with_capacity(1);
        // 0 would be without an end.
        let ms = wait.timeout.as_millis().max(1) as u64;
        waiting.cmd("WAIT").arg(wait.replicas).arg(ms).ignore_errors();
        let (replies, waited) =
            in_order(self.send(pipeline, time_limit), behind.send(&waiting, time_limit)).await?;
        let reply = waited.as_ref().ok().and_then(|replies| replies.first());
        Ok((replies, Durability::of(reply, wait)))
    }

    /// The number of replicas that are in sync with the server and were heard of lately; 0 if the server does not
    /// tell.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] when no reply came.
    pub async fn count_replicas(&mut self, time_limit: Duration) -> Result<u32, Unanswered> {
        let mut pipeline = Pipeline::with_capacity(1);
        ask_role(&mut pipeline);
        pipeline.ignore_errors();
        let replies = self.send(&pipeline, time_limit).await?;
        Ok(replies.first().and_then(info_text).map_or(0, online_replicas))
    }
}

/// Polls the first future before the second, and so has it sent first. Ends with the first error of the first one.
async fn in_order<A, E, B>(
    first: impl Future<Output = Result<A, E>>,
    second: impl Future<Output = B>,
) -> Result<(A, B), E> {
    let (first, second) = (std::pin::pin!(first), std::pin::pin!(second));
    match select(first, second).await {
        Either::Left((first, second)) => Ok((first?, second.await)),
        Either::Right((second, first)) => Ok((first.await?, second)),
    }
}

/// Counts the replicas in a text of INFO.
fn online_replicas(info: &[u8]) -> u32 {
    let info = String::from_utf8_lossy(info);
    let is_online = |line: &&str| {
        let Some((name, fields)) = line.split_once(':') else { return false };
        let is_replica =
            name.strip_prefix("slave").is_some_and(|number| number.parse::<u32>().is_ok());
        let field = |name: &str| {
            fields
                .trim_end()
                .split(',')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let lag = field("lag").and_then(|lag| lag.parse::<u32>().ok());
        is_replica && field("state") == Some("online") && lag.is_none_or(|lag| lag <= LONGEST_LAG_S)
    };
    u32::try_from(info.lines().filter(is_online).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_in_sync_are_counted() {
        let info = b"# Replication\r\nrole:master\r\nconnected_slaves:4\r\n\
            slave0:ip=127.0.0.1,port=1,state=online,offset=14,lag=0\r\n\
            slave1:ip=::1,port=2,state=online,offset=14,lag=10\r\n\
            slave2:ip=127.0.0.1,port=3,state=online,offset=14,lag=11\r\n\
            slave3:ip=127.0.0.1,port=4,state=wait_bgsave,offset=0,lag=0\r\n\
            slave_repl_offset:state=online\r\n";
        assert_eq!(online_replicas(info), 2);
        assert_eq!(online_replicas(b""), 0);
    }

    #[test]
    fn too_few_replicas_and_a_lost_answer_are_told_apart() {
        let timeout = Duration::from_secs(1);
        let demanded = Wait { replicas: 2, timeout, is_demanded: true };
        assert_eq!(Durability::of(Some(&Value::Int(3)), demanded), Durability::Reached(3));
        let missed = Durability::of(Some(&Value::Int(1)), demanded);
        assert_eq!(missed, Durability::Missed { reached: Some(1), wanted: 2 });
        assert!(!missed.is_lost());
        assert!(Durability::of(None, demanded).is_lost());
        assert!(Durability::of(Some(&Value::Nil), demanded).is_lost());
        let granted = Wait { is_demanded: false, ..demanded };
        assert_eq!(Durability::of(Some(&Value::Nil), granted), Durability::NotAsked);
        assert!(Durability::of(None, granted).is_lost());
    }
}
