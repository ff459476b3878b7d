use serde::Deserialize;

use super::{CODES, HOLDS, bind_account};
use crate::{
    store::{Invocation, Operation},
    types::{Code, Id},
};

/// Takes back the money of holds of one account that have ended: what every call does that looks at
/// the account, and the sweeper for those that nobody looks at.
pub struct Expire(pub Id);

impl Expire {
    /// The kind of key that there is as long as an account has holds, ended ones among them.
    pub const KIND: &'static str = HOLDS;
}

/// Whether there were more than one go takes back.
#[derive(Debug, Deserialize)]
pub struct Expired {
    /// 1 if so.
    pub more: u64,
}

impl Operation for Expire {
    const NAME: &'static str = "accounts/expire";
    const CODES: &'static [Code] = CODES;
    type Reply = Expired;

    fn bind(&self, invocation: &mut Invocation) {
        bind_account(invocation, &self.0).key("holds_key", HOLDS, &self.0);
    }
}
