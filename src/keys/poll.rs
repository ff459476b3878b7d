//! `keys/poll`: asks how often keys have changed. It has no endpoint; `follow` runs it twice a second.

use serde::Deserialize;

use crate::{
    store::{Invocation, Operation},
    types::Code,
};

/// Reads the number of changes.
pub struct PollKeys;

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct PollReply {
    /// The number of changes to keys so far.
    pub version: u64,
    /// The clock of Redis in milliseconds.
    pub now_ms: u64,
}

impl Operation for PollKeys {
    const NAME: &'static str = "keys/poll";
    const CODES: &'static [Code] = &[];
    type Reply = PollReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("version_key", "caller_keys", "version");
    }
}
