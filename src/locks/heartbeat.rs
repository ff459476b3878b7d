//! `locks/heartbeat`: keeps the places of the waiters of this process, and asks which of them are the first
//! of their queues. It has no endpoint; `waiters` runs it a few times a second while somebody waits.

use serde::Deserialize;

use super::{
    CODES,
    names::{bind_lock, bind_processes},
};
use crate::{
    store::{Invocation, Operation, ProcessId},
    types::{Code, Id},
};

/// Says that a process is there, in one space.
pub struct Heartbeat {
    pub process: ProcessId,
    /// Locks that somebody in this process waits for.
    pub locks: Vec<Id>,
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct HeartbeatReply {
    /// False if the process was not heard of for so long that its waiters may have been passed over.
    pub was_alive: bool,
    /// True if so many waiters have gone that another run is needed to pass over all of them.
    pub more: bool,
    /// Of each queue whose first waiter is in this process: its number, and after how many milliseconds
    /// it should try.
    pub firsts: Vec<String>,
}

impl Operation for Heartbeat {
    const NAME: &'static str = "locks/heartbeat";
    const CODES: &'static [Code] = CODES;
    type Reply = HeartbeatReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_processes(invocation);
        for name in &self.locks {
            bind_lock(invocation, name).derived_key("queue_key", "lock_queue", name);
        }
        invocation.derived_arg("process", self.process);
    }
}
