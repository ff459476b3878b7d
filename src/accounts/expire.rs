//! `accounts/expire`: gives the money of expired holds back to their account, in the stored record.
//! It has no endpoint. A script that finds too many of them at once asks the store to run it first,
//! and the sweeper runs it for accounts that nobody calls.

use serde::Deserialize;

use super::{CODES, HOLDS, bind_account};
use crate::{
    store::{Invocation, Operation},
    types::{Code, Id},
};

/// Removes up to 1,000 expired holds from an account.
pub struct ExpireHolds(pub Id);

impl ExpireHolds {
    /// The kind of the keys that the sweeper looks for. Such a key exists as long as the account has
    /// holds that are open or not yet removed.
    pub const KIND: &'static str = HOLDS;
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct ExpireHoldsReply {
    /// 1 if expired holds may be left, so that another run is needed; otherwise 0.
    pub more: u64,
}

impl Operation for ExpireHolds {
    const NAME: &'static str = "accounts/expire";
    const CODES: &'static [Code] = CODES;
    type Reply = ExpireHoldsReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_account(invocation, &self.0).key("holds_key", HOLDS, &self.0);
    }
}
