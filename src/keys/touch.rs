//! `keys/touch`: notes when keys were last used. It has no endpoint; `follow` runs it about once a minute for a key that
//! is in use.

use serde::Deserialize;

use super::KEY;
use crate::{
    store::{Invocation, Operation},
    types::Code,
};

/// The most keys of one run.
pub const MOST_TOUCHED: usize = 200;

/// Ids of keys, each with the minute of its last use in milliseconds.
pub struct TouchKeys<'a>(pub &'a [(String, u64)]);

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct TouchReply {
    /// The number of keys whose last use was before.
    #[serde(rename = "noted")]
    pub _noted: u64,
}

impl Operation for TouchKeys<'_> {
    const NAME: &'static str = "keys/touch";
    const CODES: &'static [Code] = &[];
    type Reply = TouchReply;

    fn bind(&self, invocation: &mut Invocation) {
        for (key_id, _) in self.0 {
            invocation.key("key_record", KEY, key_id);
        }
        for (_, used_at) in self.0 {
            invocation.arg("used_at", used_at);
        }
    }
}
